"""Answers SQL on tables by DuckDB or Spark.

    questions.py < {"engine": "duckdb" or "spark", "jars": [PATH, …], "tables": {"NAME": METADATA}, "queries": ["SELECT …", …]}

Prints {"answers": [[[VALUE, …], …], …], "comments": {"NAME": {"COLUMN": "…"}}}. Numbers are rounded to six digits; DuckDB knows
no comments.
"""

import datetime
import decimal
import json
import os
import sys
import time

os.environ["TZ"] = "UTC"  # of the times without a zone that Spark makes of timestamptz
time.tzset()
asked = json.load(sys.stdin)


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat()
    if isinstance(value, (float, decimal.Decimal)):
        return round(float(value), 6)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def duckdb():
    from duckdb_iceberg import connect

    connection = connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name, metadata in asked["tables"].items():
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM iceberg_scan('{metadata}')")
    tables = [connection.execute(query).to_arrow_table() for query in asked["queries"]]  # fetchall would need pytz
    return [list(zip(*(column.to_pylist() for column in table.columns), strict=True)) for table in tables], {}


def spark():
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", ",".join(asked["jars"]))
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    comments = {}
    for name, metadata in asked["tables"].items():
        frame = session.read.format("iceberg").load(metadata)
        frame.createOrReplaceTempView(name)
        comments[name] = {field.name: field.metadata.get("comment", "") for field in frame.schema.fields}
    answers = [[tuple(row) for row in session.sql(query).collect()] for query in asked["queries"]]
    session.stop()
    return answers, comments


answers, comments = {"duckdb": duckdb, "spark": spark}[asked["engine"]]()
json.dump({"answers": [[[plain(v) for v in row] for row in rows] for rows in answers], "comments": comments}, sys.stdout)
