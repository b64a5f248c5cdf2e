"""Queries the demo's tables as any client of the catalog can: PyIceberg finds them, DuckDB joins them.

lakehouse.py CONFIG, with the configuration of the destination."""

import json
import sys

import duckdb
from pyiceberg.catalog import load_catalog
from pyiceberg.io.pyarrow import PyArrowFileIO

config = json.load(open(sys.argv[1]))
storage = config["storage"]
catalog = load_catalog("demo", type="rest", uri=config["catalog"]["uri"])
# Nessie tells clients to have it sign each request, which PyIceberg does with another package. We have keys.
files = PyArrowFileIO(
    {
        "s3.endpoint": storage["endpoint"],
        "s3.access-key-id": storage["access_key_id"],
        "s3.secret-access-key": storage["secret_access_key"],
        "s3.region": storage["region"],
    }
)


def read(name):
    table = catalog.load_table(name)
    table.io = files
    return table.scan().to_arrow()


cycles, recovery = read("whoop.cycles"), read("whoop.recovery")
print(
    duckdb.sql("""
        SELECT strftime(c.start, '%Y-%m') AS month, count(*) AS days,
               round(avg(c.score.strain), 1) AS strain, round(avg(r.score.recovery_score)) AS recovery
        FROM cycles c JOIN recovery r ON r.cycle_id = c.id
        GROUP BY month ORDER BY month DESC LIMIT 6
    """)
)
