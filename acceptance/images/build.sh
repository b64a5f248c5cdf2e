#!/bin/sh
# Builds source-whoop and destination-iceberg with podman or docker and prints their compressed sizes.
# The bases come from the registry when it is reachable, else they are made on this machine; BASES=registry
# or BASES=local settles it.
#
#   build.sh VERSION      (from the root of the repository)
set -eu

version=$1
here=$(dirname "$0")
engine=$("$here/engine.sh")
bases=${BASES:-}

if [ -z "$bases" ]; then
  bases=registry
  if ! timeout 60 "$engine" pull --quiet "$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)" >/dev/null 2>&1; then
    echo "no registry is reachable: the base images are made from Debian packages and this machine's Go"
    bases=local
  fi
fi

case $bases in
  registry) set -- ;;
  local)
    base=$("$here/base.sh" "$engine")
    go=$("$here/go.sh" "$engine" "$base")
    set -- --network=none --build-arg GO_IMAGE="$go" --build-arg BASE_IMAGE="$base"
    ;;
  *) echo "BASES is registry or local, not $bases" >&2; exit 2 ;;
esac

set -- "$@" --build-arg COMMIT="$(git rev-parse HEAD 2>/dev/null)" --build-arg TIME="$(git log -1 --format=%cI 2>/dev/null)"
for image in source-whoop destination-iceberg; do
  "$engine" build "$@" --build-arg VERSION="$version" --target "${image%%-*}" --tag "$image:$version" --tag "$image:latest" .
done
for image in source-whoop destination-iceberg; do
  bytes=$("$engine" save "$image:$version" | gzip | wc -c)
  echo "$image:$version: $((bytes / 1000000)).$((bytes / 100000 % 10)) MB compressed"
done
