"""Reads tables by their directories, which their version hints make possible.

    duckdb_directory.py COLUMN DIRECTORY…

Prints a JSON array with the sorted values of the column for each directory. The tables may have been moved.
"""

import json
import sys

from duckdb_iceberg import connect

column, *directories = sys.argv[1:]
connection = connect()
found = []
for directory in directories:
    query = f'SELECT "{column}" FROM iceberg_scan($1, allow_moved_paths = true) ORDER BY 1'
    found.append([value for (value,) in connection.execute(query, [directory]).fetchall()])
json.dump(found, sys.stdout)
