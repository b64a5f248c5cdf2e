"""Writes the records of one stream into an Iceberg table by dlt's filesystem destination.

    dlt_write.py MESSAGES CONFIGURED_CATALOG DIRECTORY append|upsert

The table and dlt's own files are in DIRECTORY.
"""

import json
import os
import pathlib
import sys

messages, catalog, directory, mode = sys.argv[1:]
os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_DATA_DIR": f"{directory}/dlt"}

import dlt  # noqa: E402: it reads the environment

(configured,) = json.loads(pathlib.Path(catalog).read_text())["streams"]
((key,),) = configured["primary_key"]


@dlt.resource(
    name="records",
    table_format="iceberg",
    primary_key=key,
    write_disposition="append" if mode == "append" else {"disposition": "merge", "strategy": "upsert"},
)
def records():
    with open(messages, "rb") as lines:
        for line in lines:
            message = json.loads(line)
            if message["type"] == "RECORD":
                yield message["record"]["data"]


pipeline = dlt.pipeline(
    "bench",
    destination=dlt.destinations.filesystem(pathlib.Path(directory, "lake").absolute().as_uri()),
    dataset_name="bench",
    pipelines_dir=f"{directory}/pipelines",
)
pipeline.run(records()).raise_on_failed_jobs()
