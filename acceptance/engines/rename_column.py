"""Renames a column of a table.

    rename_column.py CATALOG_DB TABLE COLUMN NEW
"""

import argparse

from pyiceberg.catalog.sql import SqlCatalog

parser = argparse.ArgumentParser()
parser.add_argument("catalog_db")
parser.add_argument("table")
parser.add_argument("column")
parser.add_argument("new")
args = parser.parse_args()

table = SqlCatalog("default", uri=f"sqlite:///{args.catalog_db}").load_table(args.table)
with table.update_schema() as update:
    update.rename_column(args.column, args.new)
