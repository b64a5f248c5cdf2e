"""Reads one table through DuckDB's Iceberg extension and prints it in the form of canonical.py.

    duckdb_read.py METADATA_JSON_PATH [--key id,…]
"""

import argparse

import canonical
import duckdb
from duckdb_iceberg import connect


def read(connection: duckdb.DuckDBPyConnection, metadata_json: str, key: list[str]) -> dict:
    contents = dict(
        connection.execute(
            "SELECT content, count(*) FROM iceberg_metadata(?) WHERE status <> 'DELETED' GROUP BY content",
            [metadata_json],
        ).fetchall()
    )
    return canonical.document(
        connection.execute("SELECT * FROM iceberg_scan(?)", [metadata_json]).to_arrow_table(),
        key=key,
        metadata_location=metadata_json,
        files={
            "data": contents.get("EXISTING", 0),  # what the extension calls the content of a data file
            "position_deletes": contents.get("POSITION_DELETES", 0),
            "equality_deletes": contents.get("EQUALITY_DELETES", 0),
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("metadata_json", help="a path or file:// URI")
    parser.add_argument("--key", default="", help="columns to sort by, separated by commas")
    args = parser.parse_args()
    canonical.dump(read(connect(), args.metadata_json, [column for column in args.key.split(",") if column]))
