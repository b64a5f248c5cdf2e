"""Reads one table through PyIceberg's SQL catalog and prints it in the form of canonical.py.

    pyiceberg_read.py CATALOG_DB WAREHOUSE NAMESPACE.TABLE [--key id,…] [--catalog default]
"""

import argparse
import collections
import pathlib

import canonical
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFileContent
from pyiceberg.table import Table


def open_catalog(catalog_db: str, warehouse: str, name: str = "default") -> SqlCatalog:
    # SQLite would make an empty database of a path that is not there.
    uri = f"sqlite:///{pathlib.Path(catalog_db).resolve(strict=True)}"
    return SqlCatalog(name, uri=uri, warehouse=warehouse)


def read(table: Table, key: list[str]) -> dict:
    contents = collections.Counter(table.inspect.files()["content"].to_pylist())
    return canonical.document(
        table.scan().to_arrow(),
        key=key,
        metadata_location=table.metadata_location,
        files={
            "data": contents[DataFileContent.DATA],
            "position_deletes": contents[DataFileContent.POSITION_DELETES],
            "equality_deletes": contents[DataFileContent.EQUALITY_DELETES],
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("catalog_db")
    parser.add_argument("warehouse", help="a URI, such as file:///local/lake")
    parser.add_argument("table")
    parser.add_argument("--key", default="", help="columns to sort by, separated by commas")
    parser.add_argument("--catalog", default="default", help="the name the tables are registered under")
    args = parser.parse_args()
    table = open_catalog(args.catalog_db, args.warehouse, args.catalog).load_table(args.table)
    canonical.dump(read(table, [column for column in args.key.split(",") if column]))
