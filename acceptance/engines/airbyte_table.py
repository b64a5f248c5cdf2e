"""Makes the table whoop.items as Airbyte's own Iceberg destination does, with three rows, and prints its metadata file.

    airbyte_table.py CATALOG_DB WAREHOUSE TYPE

TYPE is that of _airbyte_extracted_at, long or timestamptz: its versions differ.
"""

import argparse
import datetime

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, ListType, LongType, NestedField, StringType, StructType, TimestamptzType

parser = argparse.ArgumentParser()
parser.add_argument("catalog_db")
parser.add_argument("warehouse")
parser.add_argument("type", choices=["long", "timestamptz"])
args = parser.parse_args()

change = StructType(*(NestedField(11 + i, name, StringType(), required=True) for i, name in enumerate(["field", "change", "reason"])))
meta = StructType(
    NestedField(8, "sync_id", LongType(), required=True),
    NestedField(9, "changes", ListType(10, change, element_required=True), required=True),
)
extracted_at = datetime.datetime(2025, 6, 1, tzinfo=datetime.UTC)
schema = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "name", StringType()),
    NestedField(3, "score", StringType()),
    NestedField(4, "version", DoubleType()),
    NestedField(5, "_airbyte_raw_id", StringType(), required=True),
    NestedField(6, "_airbyte_extracted_at", LongType() if args.type == "long" else TimestamptzType(), required=True),
    NestedField(7, "_airbyte_meta", meta, required=True),
    NestedField(14, "_airbyte_generation_id", LongType(), required=True),
    identifier_field_ids=[1],
)
catalog = SqlCatalog("default", uri=f"sqlite:///{args.catalog_db}", warehouse=args.warehouse)
catalog.create_namespace("whoop")
table = catalog.create_table("whoop.items", schema)
rows = [
    {
        "id": i, "name": f"name {i}", "score": f'{{"a":{i}}}', "version": 1.0, "_airbyte_raw_id": f"raw {i}",
        "_airbyte_extracted_at": int(extracted_at.timestamp() * 1000) if args.type == "long" else extracted_at,
        "_airbyte_meta": {"sync_id": 7, "changes": []}, "_airbyte_generation_id": 0,
    }
    for i in (1, 2, 3)
]
table.append(pa.Table.from_pylist(rows, schema=table.schema().as_arrow()))
print(table.metadata_location)
