"""Lets DuckDB turn the records of one stream into a Parquet file, the yardstick of the write path.

    duckdb_copy.py MESSAGES CONFIGURED_CATALOG OUT_PARQUET THREADS ZSTD_LEVEL [--metadata]

Column types come from the catalog's schema, so that no inference is timed. With --metadata, Airbyte's four columns
are in the file, too. Prints {"seconds": …} for the COPY alone, without the start of Python.
"""

import json
import sys
import time

import duckdb

FORMATS = {"date-time": "TIMESTAMPTZ", "date": "DATE"}
PRIMITIVES = {"string": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN"}


def duckdb_type(schema: dict) -> str:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    (kind,) = [t for t in types if t != "null"]
    if kind == "object":
        fields = (f'"{name}" {duckdb_type(property)}' for name, property in schema["properties"].items())
        return f"STRUCT({', '.join(fields)})"
    if kind == "array":
        return duckdb_type(schema["items"]) + "[]"
    return FORMATS.get(schema.get("format"), PRIMITIVES[kind])


METADATA = """
    , uuid()::VARCHAR AS _airbyte_raw_id
    , make_timestamptz(record.emitted_at * 1000) AS _airbyte_extracted_at
    , {'sync_id': NULL::BIGINT, 'changes': []::STRUCT(field VARCHAR, change VARCHAR, reason VARCHAR)[]} AS _airbyte_meta
    , 0::BIGINT AS _airbyte_generation_id
"""

messages, catalog, out, threads, level, *rest = sys.argv[1:]
with open(catalog) as f:
    (stream,) = json.load(f)["streams"]
record = f"STRUCT(stream VARCHAR, emitted_at BIGINT, data {duckdb_type(stream['stream']['json_schema'])})"

connection = duckdb.connect(config={"threads": threads})
start = time.monotonic()
connection.execute(
    f"""
    COPY (
      SELECT unnest(record.data){METADATA if rest == ["--metadata"] else ""}
      FROM read_ndjson($messages, columns = {{type: 'VARCHAR', record: '{record}'}}, maximum_object_size = 33554432)
      WHERE type = 'RECORD'
    ) TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {level})
    """,
    {"messages": messages},
)
print(json.dumps({"seconds": time.monotonic() - start}))
