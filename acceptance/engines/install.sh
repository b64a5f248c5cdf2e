#!/bin/sh
# Creates the virtual environments .cache/engines, .cache/moto, .cache/cdk and .cache/pyairbyte, once per version of their requirements.
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
