"""Compares tables with Parquet files as reference.py does. Spark reads both.

    spark_reference.py < {"jars": [PATH, ...], "comparisons": {"NAME": {"reference": PARQUET_PATH, "tables": {"TABLE": METADATA_JSON, ...}}, ...}}
"""

import json
import sys

from pyspark.sql import SparkSession

asked = json.load(sys.stdin)
session = (
    SparkSession.builder.master("local[2]")
    .config("spark.jars", ",".join(asked["jars"]))
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED")  # the reference is not a file of an old Spark
    .getOrCreate()
)
session.sparkContext.setLogLevel("ERROR")
found = {}
for comparison in asked["comparisons"].values():
    reference = session.read.parquet(comparison["reference"])
    for name, metadata in comparison["tables"].items():
        table = session.read.format("iceberg").load(metadata).select(*reference.columns)
        differ = []
        for side, one, other in (("only in the table", table, reference), ("only in the reference", reference, table)):
            differ += [[side, row.text] for row in one.exceptAll(other).selectExpr("CAST(struct(*) AS STRING) AS text").limit(3).collect()]
        found[name] = {"rows": table.count(), "differ": differ}
json.dump({"Spark": found}, sys.stdout)
session.stop()
