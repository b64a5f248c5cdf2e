"""Asks tables by SQL, through DuckDB's Iceberg extension.

    duckdb_sql.py CATALOG_DB {"NAMESPACE.TABLE": "SELECT … FROM t", …}

Each query sees its table as t. Prints {"NAMESPACE.TABLE": [[…], …], …}; a table that is not in the catalog is left out.
"""

import json
import pathlib
import sqlite3
import sys

from duckdb_iceberg import connect

catalog_db, queries = sys.argv[1:]
# SQLite would make an empty database of a path that is not there.
uri = pathlib.Path(catalog_db).resolve(strict=True).as_uri() + "?mode=rw"
with sqlite3.connect(uri, uri=True) as catalog:
    locations = {
        f"{namespace}.{name}": location
        for namespace, name, location in catalog.execute(
            "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables"
        )
    }
answers = {}
connection = connect()
for table, query in json.loads(queries).items():
    if table in locations:
        location = locations[table].replace("'", "''")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW t AS SELECT * FROM iceberg_scan('{location}')")
        answers[table] = connection.execute(query).fetchall()
json.dump(answers, sys.stdout)
