"""Reads one table through PyIceberg's SQL catalog and prints it in the form of canonical.py.

    pyiceberg_read.py CATALOG_DB WAREHOUSE NAMESPACE.TABLE [--key id,…] [--catalog default]
"""

import argparse
import collections
import pathlib

import canonical
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFileContent

parser = argparse.ArgumentParser()
parser.add_argument("catalog_db", type=pathlib.Path)
parser.add_argument("warehouse", help="a URI, such as file:///local/lake")
parser.add_argument("table")
parser.add_argument("--key", default="", help="columns to sort by, separated by commas")
parser.add_argument("--catalog", default="default", help="the name the tables are registered under")
args = parser.parse_args()

# SQLite would make an empty database of a path that is not there.
uri = f"sqlite:///{args.catalog_db.resolve(strict=True)}"
table = SqlCatalog(args.catalog, uri=uri, warehouse=args.warehouse).load_table(args.table)

contents = collections.Counter(table.inspect.files()["content"].to_pylist())
canonical.dump(
    table.scan().to_arrow(),
    key=[column for column in args.key.split(",") if column],
    metadata_location=table.metadata_location,
    files={
        "data": contents[DataFileContent.DATA],
        "position_deletes": contents[DataFileContent.POSITION_DELETES],
        "equality_deletes": contents[DataFileContent.EQUALITY_DELETES],
    },
)
