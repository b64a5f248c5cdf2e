"""Reads the demo's tables as any client of the catalog does: PyIceberg finds them, DuckDB queries them.

lakehouse.py CONFIG, with the configuration of the destination."""

import json
import sys

import duckdb
from pyiceberg.catalog import load_catalog

config = json.load(open(sys.argv[1]))
storage = config["storage"]
catalog = load_catalog(
    "demo",
    **{
        "type": "rest",
        "uri": config["catalog"]["uri"],
        "s3.endpoint": storage["endpoint"],
        "s3.access-key-id": storage["access_key_id"],
        "s3.secret-access-key": storage["secret_access_key"],
        "s3.region": storage["region"],
    },
)
recovery = catalog.load_table("whoop.recovery").scan().to_arrow()
cycles = catalog.load_table("whoop.cycles").scan().to_arrow()
print(
    duckdb.sql("""
        SELECT strftime(c.start, '%Y-%m') AS month, count(*) AS days,
               round(avg(c.score.strain), 1) AS strain, round(avg(r.score.recovery_score)) AS recovery
        FROM cycles c JOIN recovery r ON r.cycle_id = c.id
        GROUP BY month ORDER BY month DESC LIMIT 6
    """)
)
