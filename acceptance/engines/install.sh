#!/bin/sh
# Makes the virtual environment .cache/engines, once for each version of requirements.txt.
set -eu

here=$(dirname "$0")
venv=$here/../../.cache/engines

if cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  exit 0
fi
if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "the engines that read our tables back need Python 3.11 or later with venv; on Debian: apt-get install python3-venv" >&2
  exit 1
fi
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --retries 10 -r "$here/requirements.txt"
cp "$here/requirements.txt" "$venv/requirements.txt"
