"""Reads all streams of a source into PyAirbyte's cache, and writes the cache by a destination.

    pyairbyte_sync.py SOURCE CONFIG DESTINATION CONFIG CACHE_DB

Both programs run as local executables. A configuration that the source hands out replaces its file. The last line of the
output tells how many records were read, and the keys of the rows that the cache has then:

    {"records": 2431, "cache": {"cycles": ["93845", "93846 deleted", …], …}}
"""

import argparse
import json
import pathlib

import airbyte
from airbyte.caches import DuckDBCache

parser = argparse.ArgumentParser()
parser.add_argument("source")
parser.add_argument("source_config", type=pathlib.Path)
parser.add_argument("destination")
parser.add_argument("destination_config", type=pathlib.Path)
parser.add_argument("cache_db", type=pathlib.Path)
args = parser.parse_args()


def keep(config: dict) -> None:
    args.source_config.write_text(json.dumps(config))
    source.set_config(config)  # what follows in this process uses it too


source = airbyte.get_source(
    "source-whoop",
    local_executable=args.source,
    config=json.loads(args.source_config.read_text()),
    config_change_callback=keep,
)
destination = airbyte.get_destination(
    "destination-iceberg",
    local_executable=args.destination,
    config=json.loads(args.destination_config.read_text()),
)
source.check()
destination.check()
source.select_all_streams()
result = source.read(cache=DuckDBCache(db_path=args.cache_db))
destination.write(result)

keys = {}
for configured in source.configured_catalog.streams:
    [[key]] = configured.primary_key
    keys[configured.stream.name] = [
        f"{row[key]} deleted" if row.get("_ab_cdc_deleted_at") else str(row[key]) for row in result[configured.stream.name]
    ]
print(json.dumps({"records": result.processed_records, "cache": keys}))
