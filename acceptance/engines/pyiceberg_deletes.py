"""Says what the position-delete files of a table's current snapshot delete, as PyIceberg sees them.

    pyiceberg_deletes.py CATALOG_DB WAREHOUSE NAMESPACE.TABLE [--catalog default]

Prints {"data": ["file:///…parquet", …], "deletes": {"file:///…parquet": {"file:///…": 12, …}, …}}: the live data
files, and for each delete file the number of rows it deletes of each data file.
"""

import argparse
import collections
import json
import pathlib
import sys

import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFileContent

parser = argparse.ArgumentParser()
parser.add_argument("catalog_db", type=pathlib.Path)
parser.add_argument("warehouse", help="a URI, such as file:///local/lake")
parser.add_argument("table")
parser.add_argument("--catalog", default="default", help="the name the tables are registered under")
args = parser.parse_args()

uri = f"sqlite:///{args.catalog_db.resolve(strict=True)}"
table = SqlCatalog(args.catalog, uri=uri, warehouse=args.warehouse).load_table(args.table)
found = {"data": [], "deletes": {}}
for file in table.inspect.files().select(["content", "file_path"]).to_pylist():
    path = file["file_path"]
    if file["content"] == DataFileContent.DATA:
        found["data"].append(path)
        continue
    with table.io.new_input(path).open() as f:
        found["deletes"][path] = collections.Counter(pq.read_table(f, columns=["file_path"])["file_path"].to_pylist())
json.dump(found, sys.stdout)
