"""Holds the partitions of a table's current snapshot against its rows, by PyIceberg's own transforms and plans.

    pyiceberg_partitions.py CATALOG_DB WAREHOUSE NAMESPACE.TABLE [FILTER…]

Prints {"specs": {SPEC_ID: DATA_FILES, …}, "problems": […], "filters": {FILTER: {"ids": […], "files": N}, …}}: what is
wrong, and for each filter the ids of the rows it lets through and of how many data files they are planned to come.
"""

import collections
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import parser, visitors
from pyiceberg.io.pyarrow import expression_to_pyarrow
from pyiceberg.table import Table

from pyiceberg_read import open_catalog


def column(rows: pa.Table, field_id: int) -> list:
    """The values of a column as PyIceberg's transforms take them; nulls where the file has no such column."""
    for i, field in enumerate(rows.schema):
        if int(field.metadata[b"PARQUET:field_id"]) == field_id:
            values = rows.column(i)
            if pa.types.is_date32(field.type):
                values = values.cast(pa.int32())
            elif pa.types.is_timestamp(field.type):
                values = values.cast(pa.int64())
            return values.to_pylist()
    return [None] * len(rows)


def wrong_files(table: Table) -> list[str]:
    problems = []
    schema, specs = table.schema(), table.specs()
    for task in table.scan().plan_files():
        file = task.file
        with table.io.new_input(file.file_path).open() as f:
            rows = pq.read_table(f)
        for place, field in enumerate(specs[file.spec_id].fields):
            transform = field.transform.transform(schema.find_type(field.source_id))
            got = {transform(v) for v in column(rows, field.source_id)}
            if got != {file.partition[place]}:
                problems.append(f"{file.file_path}: {field.name} is {file.partition[place]!r}, its rows have {got!r}")
    return problems


def wrong_partitions(table: Table) -> list[str]:
    """inspect.partitions sums up the manifests; so does this."""
    want = collections.Counter()
    for task in table.scan().plan_files():
        want[task.file.spec_id, str(task.file.partition)] += task.file.record_count
    partitions = table.inspect.partitions()
    got = partitions["record_count"].to_pylist()
    return [] if sorted(got) == sorted(want.values()) else [f"inspect.partitions has {sorted(got)}, the plan {sorted(want.values())}"]


catalog_db, warehouse, name, *filters = sys.argv[1:]
table = open_catalog(catalog_db, warehouse).load_table(name)
everything = table.scan().to_arrow()
found = {
    "specs": collections.Counter(task.file.spec_id for task in table.scan().plan_files()),
    "problems": wrong_files(table) + wrong_partitions(table),
    "filters": {},
}
for text in filters:
    scan = table.scan(row_filter=text)
    ids = sorted(scan.to_arrow()["id"].to_pylist())
    condition = expression_to_pyarrow(visitors.bind(table.schema(), parser.parse(text), case_sensitive=True))
    want = sorted(everything.filter(condition)["id"].to_pylist())
    if ids != want:
        found["problems"].append(f"where {text}: {len(ids)} rows, {len(want)} when all are read")
    found["filters"][text] = {"ids": ids, "files": len(list(scan.plan_files()))}
json.dump(found, sys.stdout)
