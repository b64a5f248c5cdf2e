"""Reads one table through DuckDB's Iceberg extension and prints it in the form of canonical.py.

    duckdb_read.py METADATA_JSON_PATH [--key id,…]
"""

import argparse

import canonical
from duckdb_iceberg import connect

parser = argparse.ArgumentParser()
parser.add_argument("metadata_json", help="a path or file:// URI")
parser.add_argument("--key", default="", help="columns to sort by, separated by commas")
args = parser.parse_args()

connection = connect()
contents = dict(
    connection.execute(
        "SELECT content, count(*) FROM iceberg_metadata(?) WHERE status <> 'DELETED' GROUP BY content",
        [args.metadata_json],
    ).fetchall()
)
canonical.dump(
    connection.execute("SELECT * FROM iceberg_scan(?)", [args.metadata_json]).to_arrow_table(),
    key=[column for column in args.key.split(",") if column],
    metadata_location=args.metadata_json,
    files={
        "data": contents.get("EXISTING", 0),  # what the extension calls the content of a data file
        "position_deletes": contents.get("POSITION_DELETES", 0),
        "equality_deletes": contents.get("EQUALITY_DELETES", 0),
    },
)
