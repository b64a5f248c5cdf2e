"""Asks tables by SQL, through DuckDB's Iceberg extension.

    duckdb_sql.py CATALOG_DB {"NAMESPACE.TABLE": "SELECT … FROM t", "NAMESPACE.TABLE@BRANCH": …}

Each query sees its table, or a branch of it, as t. Prints {"NAMESPACE.TABLE": [[…], …], …}; a table that is not in the
catalog is left out, and so is a branch that is not there or has never been committed to.
"""

import json
import pathlib
import sqlite3
import sys
import urllib.request

from duckdb_iceberg import connect

catalog_db, queries = sys.argv[1:]
# SQLite would make an empty database of a path that is not there.
uri = pathlib.Path(catalog_db).resolve(strict=True).as_uri() + "?mode=rw"
catalog = sqlite3.connect(uri, uri=True)
tips = {}  # by table and branch: the metadata's location and the snapshot
if catalog.execute("SELECT count(*) FROM sqlite_master WHERE name = 'iceberg_tables'").fetchone() != (0,):
    for namespace, name, location in catalog.execute(
        "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables"
    ):
        with urllib.request.urlopen(location) as metadata:
            for branch, ref in json.load(metadata).get("refs", {}).items():
                suffix = "" if branch == "main" else f"@{branch}"
                tips[f"{namespace}.{name}{suffix}"] = location, ref["snapshot-id"]
answers = {}
connection = connect()
for table, query in json.loads(queries).items():
    if table in tips:
        location, snapshot = tips[table]
        location = location.replace("'", "''")
        connection.execute(
            f"CREATE OR REPLACE TEMP VIEW t AS SELECT * FROM iceberg_scan('{location}', snapshot_from_id = {snapshot})"
        )
        answers[table] = connection.execute(query).fetchall()
json.dump(answers, sys.stdout)
