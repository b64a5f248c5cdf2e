"""Reads one table at every snapshot, branch and tag, through PyIceberg and through DuckDB.

    snapshots.py CATALOG_DB WAREHOUSE NAMESPACE.TABLE COLUMN

Prints {"PyIceberg": {"snapshot 123": [the column's values, sorted], …, "tag kept": […]}, "DuckDB": {"snapshot 123": […]}}.
"""

import json
import sys

from duckdb_iceberg import connect
from pyiceberg_read import open_catalog

catalog_db, warehouse, name, column = sys.argv[1:]
table = open_catalog(catalog_db, warehouse).load_table(name)
connection = connect()
found = {"PyIceberg": {}, "DuckDB": {}}


def scan(snapshot_id):
    return sorted(table.scan(snapshot_id=snapshot_id).to_arrow()[column].to_pylist())


for snapshot in table.snapshots():
    key, number = f"snapshot {snapshot.snapshot_id}", snapshot.snapshot_id
    found["PyIceberg"][key] = scan(number)
    rows = connection.execute(f'SELECT "{column}" FROM iceberg_scan(?, snapshot_from_id => {number}) ORDER BY 1', [table.metadata_location]).fetchall()
    found["DuckDB"][key] = [row[0] for row in rows]
for ref, points in table.refs().items():
    found["PyIceberg"][f"{points.snapshot_ref_type.value} {ref}"] = scan(points.snapshot_id)
json.dump(found, sys.stdout)
