#!/bin/sh
# Makes a Go image without a registry, unless it is there: BASE, this machine's Go distribution and, as a module
# proxy in a directory, the modules that the two programs and what builds them consist of. A build in it needs no
# network. Prints the image's name.
#
#   go.sh ENGINE BASE      (from the root of the repository)
set -eu

engine=$1
base=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The zip of every module with a package in the build; of the others in the module graph go.mod alone is read.
CGO_ENABLED=0 go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}' ./source ./destination ./internal/dist |
  sort -u > "$work/modules"

image=localhost/whoop-iceberg/go:$({ echo "$base"; go version; cat go.mod "$work/modules" "$0"; } | sha256sum | cut -c1-12)
if "$engine" image inspect "$image" >/dev/null 2>&1; then
  echo "$image"
  exit
fi

goroot=$(go env GOROOT)
downloads=$(go env GOMODCACHE)/cache/download
xargs go mod download -json < "$work/modules" |
  sed -n "s|^\t\"Zip\": \"$downloads/\(.*\)\",\$|\1|p" > "$work/files"
(cd "$downloads" && find . -type f '(' -name '*.mod' -o -name '*.info' ')') >> "$work/files"

mkdir "$work/context"
tar -C "$downloads" -cf "$work/context/modules.tar" -T "$work/files"
tar -C "$goroot" --dereference --exclude=./api --exclude=./doc --exclude=./test --exclude=./misc -cf "$work/context/go.tar" .

cat > "$work/context/Dockerfile" <<END
FROM $base
ADD go.tar /usr/local/go
ADD modules.tar /modules
ENV PATH=/usr/local/go/bin:/bin:/usr/bin
ENV GOPATH=/go
ENV GOPROXY=file:///modules
ENV GOTOOLCHAIN=local
END
"$engine" build --quiet --tag "$image" "$work/context" >&2
echo "$image"
