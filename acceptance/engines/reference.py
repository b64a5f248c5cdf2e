"""Compares tables with Parquet files that hold the same rows without Airbyte's columns. DuckDB and PyIceberg read the tables.

    reference.py < {"NAME": {"reference": PARQUET_PATH, "tables": {"TABLE": METADATA_JSON, ...}}, ...}

Prints {"DuckDB": {"TABLE": {"rows": 3, "differ": [[SIDE, ROW], ...]}, ...}, "PyIceberg": ...}: how many rows a table has, and some
of those that one side has more often than the other.
"""

import json
import sys

import duckdb
from duckdb_iceberg import connect
from pyiceberg.table import StaticTable


def compare(connection: duckdb.DuckDBPyConnection, table: str, reference: str, columns: str) -> dict:
    ours, theirs = f"SELECT {columns} FROM {table}", f"SELECT {columns} FROM read_parquet('{reference}')"
    differ = []
    for side, one, other in (("only in the table", ours, theirs), ("only in the reference", theirs, ours)):
        rows = connection.execute(f"SELECT CAST(r AS VARCHAR) FROM (({one}) EXCEPT ALL ({other})) r LIMIT 3").fetchall()
        differ += [[side, *row] for row in rows]
    return {"rows": connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0], "differ": differ}


found = {"DuckDB": {}, "PyIceberg": {}}
for comparison in json.load(sys.stdin).values():
    connection = connect()
    connection.execute("SET TimeZone = 'UTC'")
    reference = comparison["reference"]
    names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{reference}')").fetchall()]
    columns = ", ".join(f'"{name}"' for name in names)
    for table, metadata in comparison["tables"].items():
        found["DuckDB"][table] = compare(connection, f"iceberg_scan('{metadata}')", reference, columns)
        connection.register("pyiceberg_table", StaticTable.from_metadata(metadata).scan(selected_fields=tuple(names)).to_arrow())
        found["PyIceberg"][table] = compare(connection, "pyiceberg_table", reference, columns)
json.dump(found, sys.stdout)
