#!/bin/sh
# Prints the container engine to use: podman or docker, whichever answers. CONTAINER_ENGINE chooses one.
set -eu

for engine in ${CONTAINER_ENGINE:-podman docker}; do
  if "$engine" info >/dev/null 2>&1; then
    echo "$engine"
    exit 0
  fi
done
echo "no container engine answers (tried: ${CONTAINER_ENGINE:-podman docker}); on Debian: apt-get install podman runc buildah" >&2
exit 1
