"""Makes a Parquet file of JSON lines.

    parquet_file.py LINES OUT_PARQUET
"""

import sys

import pyarrow.json
import pyarrow.parquet

lines, out = sys.argv[1:]
pyarrow.parquet.write_table(pyarrow.json.read_json(lines), out)
