#!/bin/sh
# Creates the virtual environments .cache/engines, .cache/moto, .cache/cdk, .cache/pyairbyte, .cache/airflow and
# .cache/kubernetes, once per version of their requirements, and the tools in .cache/bin.
set -eu

here=$(dirname "$0")
cache=$here/../../.cache

# install VENV REQUIREMENTS
install() {
  if cmp -s "$here/$2" "$cache/$1/requirements.txt"; then
    return
  fi
  if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "the engines and clients need Python 3.11 or later with venv; on Debian: apt-get install python3-venv" >&2
    exit 1
  fi
  rm -rf "${cache:?}/$1"
  python3 -m venv "$cache/$1"
  "$cache/$1/bin/pip" install --quiet --disable-pip-version-check --retries 10 -r "$here/$2"
  cp "$here/$2" "$cache/$1/requirements.txt"
}

install engines requirements.txt
install moto moto.txt # separate: it needs an older python-dateutil
install cdk cdk.txt   # separate: it needs that, too, and an older xmltodict than moto
install pyairbyte pyairbyte.txt # separate: it needs an older PyArrow and DuckDB
install airflow airflow.txt
install kubernetes kubernetes.txt # the schemas of its manifests

mkdir -p "$cache/bin"

# tool NAME MODULE@VERSION
tool() {
  if [ "$(cat "$cache/bin/$1.version" 2>/dev/null)" = "$2" ]; then
    return
  fi
  GOBIN=$(cd "$cache/bin" && pwd) go install "$2"
  echo "$2" > "$cache/bin/$1.version"
}

tool kubeconform github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0
tool kustomize sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
