"""Asks tables by SQL, through DuckDB's Iceberg extension.

    duckdb_sql.py CATALOG_DB {"NAMESPACE.TABLE": "SELECT … FROM t", …}

Each query sees its table as t. Prints {"NAMESPACE.TABLE": [[…], …], …}; a table that is not in the catalog, or has
never been committed to, is left out.
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
locations = {}
if catalog.execute("SELECT count(*) FROM sqlite_master WHERE name = 'iceberg_tables'").fetchone() != (0,):
    for namespace, name, location in catalog.execute(
        "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables"
    ):
        with urllib.request.urlopen(location) as metadata:
            if json.load(metadata).get("current-snapshot-id", -1) != -1:
                locations[f"{namespace}.{name}"] = location
answers = {}
connection = connect()
for table, query in json.loads(queries).items():
    if table in locations:
        location = locations[table].replace("'", "''")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW t AS SELECT * FROM iceberg_scan('{location}')")
        answers[table] = connection.execute(query).fetchall()
json.dump(answers, sys.stdout)
