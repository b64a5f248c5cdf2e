"""Reads whole catalogs through PyIceberg, and their tables through DuckDB, for as long as it is asked.

Each line of standard input is {"catalog": CATALOG_DB, "warehouse": URI}; each is answered by one line:

    {"tables": {"NAMESPACE.TABLE": {"pyiceberg": …, "duckdb": …}, …}}

with readings in the form of canonical.py, sorted by _airbyte_raw_id; of a table that has no snapshot DuckDB has none. A
catalog that cannot be read is answered by {"error": …}.
"""

import json
import sys
import traceback

import canonical
import duckdb_read
import pyiceberg_read
from duckdb_iceberg import connect

KEY = ["_airbyte_raw_id"]


def read(connection, catalog: str, warehouse: str) -> dict:
    tables = {}
    lake = pyiceberg_read.open_catalog(catalog, warehouse)
    try:
        for namespace in lake.list_namespaces():
            for identifier in lake.list_tables(namespace):
                table = lake.load_table(identifier)
                tables[".".join(identifier)] = {
                    "pyiceberg": pyiceberg_read.read(table, KEY),
                    "duckdb": duckdb_read.read(connection, table.metadata_location, KEY) if table.current_snapshot() else None,
                }
    finally:
        lake.close()
    return tables


connection = connect()
for line in sys.stdin:
    try:
        answer = {"tables": read(connection, **json.loads(line))}
    except Exception:
        answer = {"error": traceback.format_exc()}
    canonical.dump(answer)
