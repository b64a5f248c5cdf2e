"""Runs statements in one session of Spark, then reads tables and prints them in the form of canonical.py, by their names.

    spark_read.py < {"jars": [PATH, …], "settings": {"spark.sql.catalog.NAME": …}, "statements": ["CALL …", …] or null,
                     "tables": {"NAME.NAMESPACE.TABLE": "id,…"}}
"""

import json
import os
import sys
import time

import canonical
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

os.environ["TZ"] = "UTC"  # of the times without a zone that Spark makes of timestamptz
time.tzset()


def read(spark: SparkSession, table: str, key: list[str]) -> dict:
    frame = spark.table(table)
    # Spark's own way to Arrow does not run on Java 21.
    rows = pa.Table.from_pylist([row.asDict(recursive=True) for row in frame.collect()], schema=to_arrow_schema(frame.schema))
    contents = dict(spark.sql(f"SELECT content, count(*) FROM {table}.files GROUP BY content").collect())
    latest = spark.sql(f"SELECT file FROM {table}.metadata_log_entries ORDER BY timestamp DESC, latest_sequence_number DESC LIMIT 1")
    return canonical.document(
        rows,
        key=key,
        metadata_location=latest.first().file,
        files={"data": contents.get(0, 0), "position_deletes": contents.get(1, 0), "equality_deletes": contents.get(2, 0)},
    )


asked = json.load(sys.stdin)
builder = SparkSession.builder.master("local[2]")
for name, setting in (
    {
        "spark.jars": ",".join(asked["jars"]),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    }
    | asked["settings"]
).items():
    builder = builder.config(name, setting)
session = builder.getOrCreate()
session.sparkContext.setLogLevel("ERROR")
for statement in asked["statements"] or []:
    session.sql(statement).collect()
canonical.dump({table: read(session, table, key.split(",")) for table, key in asked["tables"].items()})
session.stop()
