#!/usr/bin/env bash
# One sync of one connection, which continues where the last one stopped.
#
#   sync.sh DIRECTORY
#
# DIRECTORY contains source.json, destination.json and catalog.json. SOURCE and DESTINATION are the commands that run
# the programs. They may have arguments, as in SOURCE="docker run --rm -i -v /connections:/connections source-whoop".
set -euo pipefail

directory=${1:?usage: sync.sh DIRECTORY}
read -ra source <<< "${SOURCE:-source}"
read -ra destination <<< "${DESTINATION:-destination}"

fail() {
  echo "sync.sh: $1" >&2
  exit 2
}
# The programs by their paths: source alone is a command of the shell.
for program in "${source[0]}" "${destination[0]}" flock; do
  [ -n "$(type -P "$program")" ] || fail "there is no program $program: install it, or set SOURCE and DESTINATION"
done
source[0]=$(type -P "${source[0]}")
destination[0]=$(type -P "${destination[0]}")
[ -r "$directory/catalog.json" ] || fail "$directory/catalog.json is missing, or cannot be read"

# A second sync of the same connection would read everything twice. It is left to the next start.
exec 9< "$directory/catalog.json"
if ! flock --nonblock 9; then
  echo "sync.sh: another sync of $directory is running" >&2
  exit 0
fi

# Their own programs read these: in a container, that may be another user.
for file in source.json destination.json; do
  [ -e "$directory/$file" ] || fail "$directory/$file is missing"
done
[ -w "$directory" ] || fail "$directory must be writable, for the state"
state=$(mktemp "$directory/.state.XXXXXX")
trap 'rm -f "$state"' EXIT
"${destination[@]}" state --config "$directory/destination.json" --catalog "$directory/catalog.json" 9<&- > "$state"
"${source[@]}" read --config "$directory/source.json" --catalog "$directory/catalog.json" --state "$state" 9<&- |
  "${destination[@]}" write --config "$directory/destination.json" --catalog "$directory/catalog.json" 9<&- > /dev/null
