"""Writes the records of one stream into a table of PyIceberg, as fast as it can: Arrow parses the messages.

    pyiceberg_write.py MESSAGES CONFIGURED_CATALOG WAREHOUSE append|upsert

The table and its SQLite catalog are in the directory WAREHOUSE; both are made if they are not there. Tables have format version 2 and
zstd level 1, as ours.
"""

import json
import pathlib
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError

FORMATS = {"date-time": pa.timestamp("us", "UTC"), "date": pa.date32()}
PRIMITIVES = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}


def arrow_type(schema: dict) -> pa.DataType:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    (kind,) = [t for t in types if t != "null"]
    if kind == "object":
        return pa.struct([(name, arrow_type(property)) for name, property in schema["properties"].items()])
    return FORMATS.get(schema.get("format"), PRIMITIVES[kind])


def texts(of: pa.DataType) -> pa.DataType:
    """Times as texts: Arrow's reader of JSON takes no time with a zone."""
    if pa.types.is_struct(of):
        return pa.struct([(field.name, texts(field.type)) for field in of])
    return pa.string() if pa.types.is_temporal(of) else of


def batches(messages: str, schema: pa.Schema):
    record = pa.struct([("data", texts(pa.struct(list(schema))))])
    reader = pyarrow.json.open_json(
        messages,
        read_options=pyarrow.json.ReadOptions(block_size=64 << 20),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=pa.schema([("type", pa.string()), ("record", record)]), unexpected_field_behavior="ignore"
        ),
    )
    for batch in reader:
        data = pc.struct_field(batch.filter(pc.equal(batch["type"], "RECORD"))["record"], "data")
        yield pa.Table.from_arrays([pc.struct_field(data, field.name).cast(field.type) for field in schema], schema=schema)


messages, catalog, warehouse, mode = sys.argv[1:]
(configured,) = json.loads(pathlib.Path(catalog).read_text())["streams"]
(key,) = configured["primary_key"]
properties = configured["stream"]["json_schema"]["properties"]
schema = pa.schema([pa.field(name, arrow_type(property), nullable=[name] != key) for name, property in properties.items()])

root = pathlib.Path(warehouse)
root.mkdir(parents=True, exist_ok=True)
tables = SqlCatalog("bench", uri=f"sqlite:///{root / 'catalog.db'}", warehouse=root.as_uri())
try:
    table = tables.load_table("bench.records")
except NoSuchTableError:
    tables.create_namespace("bench")
    table = tables.create_table(
        "bench.records",
        schema,
        properties={"write.parquet.compression-codec": "zstd", "write.parquet.compression-level": "1"},
    )
for rows in batches(messages, schema):
    if mode == "append":
        table.append(rows)
    else:
        table.upsert(rows, join_cols=key)
