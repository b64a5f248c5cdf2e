#!/bin/sh
# Makes localhost/whoop-iceberg/go without a registry: the base image, this machine's Go distribution and, as a
# module proxy in a directory, the modules the two programs are built from. A build in it needs no network.
#
#   go.sh ENGINE      (after base.sh, from the root of the repository)
set -eu

engine=$1
image=localhost/whoop-iceberg/go
goroot=$(go env GOROOT)
downloads=$(go env GOMODCACHE)/cache/download

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The zip of every module with a package in the build; of the others in the module graph go.mod alone is read.
CGO_ENABLED=0 go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}{{end}}{{end}}' ./source ./destination |
  sort -u > "$work/modules"
xargs go mod download -json < "$work/modules" |
  sed -n "s|^\t\"Zip\": \"$downloads/\(.*\)\",\$|\1|p" > "$work/files"
(cd "$downloads" && find . -type f '(' -name '*.mod' -o -name '*.info' ')') >> "$work/files"

mkdir -p "$work/context/go"
tar -C "$downloads" -cf "$work/context/modules.tar" -T "$work/files"
tar -C "$goroot" --dereference --exclude=./api --exclude=./doc --exclude=./test --exclude=./misc -cf "$work/context/go.tar" .

cat > "$work/context/Dockerfile" <<'END'
FROM localhost/whoop-iceberg/base
ADD go.tar /usr/local/go
ADD modules.tar /modules
ENV PATH=/usr/local/go/bin:/bin:/usr/bin \
    GOPATH=/go \
    GOPROXY=file:///modules \
    GOTOOLCHAIN=local
END
"$engine" build --quiet --tag "$image" "$work/context" >/dev/null
echo "made $image: $(go env GOVERSION), $(wc -l < "$work/modules") modules"
