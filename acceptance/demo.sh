#!/usr/bin/env bash
# The whole pipe on this machine: a sandboxed WHOOP member into Iceberg tables in ./lake, then one more day of it.
# Needs bin/source and bin/destination (make build); leaves ./lake to look at and nothing running.
#
# With DEMO=lakehouse the tables are in an object store with a REST catalog, which run as long as the demo does, and
# are queried by DuckDB in the end. Needs what make engines installs.
set -euo pipefail

demo=${DEMO:-local}
case $demo in local | lakehouse) ;; *) echo "DEMO is $demo; it may be local or lakehouse" >&2; exit 1 ;; esac
if [ -e lake ] && [ ! -e lake/destination.json ]; then
  echo "./lake exists and is not an earlier demo's: move it away first" >&2
  exit 1
fi
rm -rf lake && mkdir lake
work=$(mktemp -d)
sandbox=
lakehouse=
cleanup() {
  for process in $sandbox $lakehouse; do
    { kill "$process" && wait "$process"; } 2>/dev/null || true
  done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# sync [--state FILE]: one sync, with the number of records that crossed the pipe, stream by stream.
sync() {
  if ! bin/source read --config "$work/source.json" --catalog "$work/catalog.json" "$@" |
    tee "$work/messages" |
    bin/destination write --config lake/destination.json --catalog "$work/catalog.json" > "$work/write.log"
  then
    grep -h '"type":"TRACE"' "$work/messages" "$work/write.log" | grep '"ERROR"' >&2 || cat "$work/write.log" >&2
    exit 1
  fi
  { grep '"type":"RECORD"' "$work/messages" || true; } |
    sed 's/.*"stream":"\([a-z_]*\)".*/\1/' | sort | uniq -c | sort -rn
}

title "a WHOOP member in a sandbox"
# The demo is about the pipe, not about waiting for a rate limit. And this member does nothing on the second day to
# records from before the lookback, which the next full walk would find: both syncs end with exactly what is true.
bin/source sandbox --addr 127.0.0.1:0 --seed 5 --years 2 --requests-per-minute -1 --config "$work/source.json" --token-file "$work/tokens.json" \
  > "$work/sandbox.log" 2>&1 &
sandbox=$!
until [ -s "$work/source.json" ]; do
  kill -0 "$sandbox" 2>/dev/null || { cat "$work/sandbox.log" >&2; exit 1; }
  sleep 0.1
done
bin/source check --config "$work/source.json"
api=$(sed -n 's|.*"api_url": *"\([^"]*\)".*|\1|p' "$work/source.json")

if [ "$demo" = lakehouse ]; then
  title "an object store and a REST catalog"
  bin/lakehouse lake/destination.json 2> "$work/lakehouse.log" &
  lakehouse=$!
  until [ -s lake/destination.json ]; do
    kill -0 "$lakehouse" 2>/dev/null || { cat "$work/lakehouse.log" >&2; exit 1; }
    sleep 0.1
  done
  cat lake/destination.json
  bin/destination check --config lake/destination.json
else
  printf '{"warehouse": "file://%s", "namespace": "whoop"}\n' "$PWD/lake" > lake/destination.json
fi
bin/source catalog > "$work/catalog.json"

title "source read | destination write: records by stream"
sync

title "destination tables"
bin/destination tables --config lake/destination.json

title "destination preview: the nights of the last days"
bin/destination preview --config lake/destination.json sleep --where 'start >= 2026-01-09' --columns start,nap,score.sleep_performance_percentage
bin/destination preview --config lake/destination.json recovery --where 'created_at >= 2026-01-09' \
  --columns created_at,score.recovery_score,score.hrv_rmssd_milli

title "a day later, resumed from destination state: only what changed"
bin/source sandbox --addr "$api" --advance 24h
bin/destination state --config lake/destination.json --catalog "$work/catalog.json" > "$work/state.json"
sync --state "$work/state.json"

title "destination tables"
bin/destination tables --config lake/destination.json

title "destination report: a page for a browser"
bin/destination report --config lake/destination.json --charts docs/charts/whoop.json --output lake/report.html
if [ "$demo" = lakehouse ]; then
  title "DuckDB, through the catalog"
  .cache/engines/bin/python acceptance/engines/lakehouse.py lake/destination.json
else
  printf '\nThe tables stay in ./lake: bin/destination preview --config lake/destination.json workout\n'
fi
