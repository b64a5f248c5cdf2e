"""Reads streams of a source by PyAirbyte, and writes them by a destination.

    pyairbyte_sync.py JOB

JOB is a JSON object:

    {"source": {"name": "source-whoop", "local_executable": "bin/source", …}, "source_config": "source.json",
     "streams": ["sleep"], "samples": 5, "cache": "cache.duckdb",
     "destination": {"name": "destination-iceberg", "local_executable": "bin/destination", …},
     "writes": [{"config": "destination.json", "strategy": "auto"}, …]}

source and destination are arguments of get_source and get_destination. Without streams, there are all. A configuration
that the source hands out replaces its file. With samples, that many records of each stream are read first. With a cache,
the streams are read into it once, and each write writes the whole cache. Without one, each write reads the source, with
the source_config of the write, if it has one.

The last line of the output tells what was sampled and read, the rows of the cache, and the errors that PyAirbyte
could not raise:

    {"samples": {"sleep": 5}, "records": 2431, "cache": {"cycles": [{"id": 93845, …}, …], …}, "ignored": []}
"""

import datetime
import decimal
import gc
import json
import pathlib
import sys

import airbyte
from airbyte.caches import DuckDBCache
from airbyte.strategies import WriteStrategy

import canonical

job = json.loads(sys.argv[1])
config_file = pathlib.Path(job["source_config"])
ignored = []
sys.unraisablehook = lambda unraisable: ignored.append(str(unraisable.exc_value))


def keep(config: dict) -> None:
    config_file.write_text(json.dumps(config))
    source.set_config(config)  # what follows in this process uses it too


def row(mapping) -> dict:
    """A row of the cache, whose instants have no zone, and whose numbers are decimals with nine places."""
    values = {name: value for name, value in mapping.items() if not name.startswith("_airbyte_")}
    for name, value in values.items():
        if isinstance(value, datetime.datetime) and value.tzinfo is None:
            values[name] = value.replace(tzinfo=datetime.UTC)
        if isinstance(value, decimal.Decimal):
            values[name] = float(value)
    return canonical.value(values)


source = airbyte.get_source(**job["source"], config=json.loads(config_file.read_text()), config_change_callback=keep)
source.check()
if job.get("streams"):
    source.select_streams(job["streams"])
else:
    source.select_all_streams()
samples = {}
if job.get("samples"):
    samples = {name: len(list(found)) for name, found in source.get_samples(limit=job["samples"]).items()}
    gc.collect()

result, rows, records = None, {}, 0
if job.get("cache"):
    result = source.read(cache=DuckDBCache(db_path=job["cache"]))
    records = result.processed_records
    rows = {name: [row(mapping) for mapping in result[name]] for name in source.get_selected_streams()}
for write in job["writes"]:
    if "source_config" in write:
        source.set_config(json.loads(pathlib.Path(write["source_config"]).read_text()))
    destination = airbyte.get_destination(**job["destination"], config=json.loads(pathlib.Path(write["config"]).read_text()))
    destination.check()
    strategy = WriteStrategy(write["strategy"])
    if result:
        destination.write(result, write_strategy=strategy)
    else:
        destination.write(source, cache=False, state_cache=False, write_strategy=strategy)
print(json.dumps({"samples": samples, "records": records, "cache": rows, "ignored": ignored}))
