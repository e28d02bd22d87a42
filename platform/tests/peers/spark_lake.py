"""Reads the events of a lake that foretap wrote, with Spark, and writes what was found as JSON.

    spark.sh run spark_lake.py FOLDER/lake USER
"""

import json
import sys

from pyspark.sql import SparkSession

folder, user = sys.argv[1], sys.argv[2]
session = SparkSession.builder.master("local[1]").appName("foretap")
settings = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.catalog.foretap": "org.apache.iceberg.spark.SparkCatalog",
    "spark.sql.catalog.foretap.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
    "spark.sql.catalog.foretap.uri": f"jdbc:sqlite:{folder}/catalog.sqlite",
    "spark.sql.catalog.foretap.warehouse": f"file://{folder}",
    "spark.sql.catalog.foretap.jdbc.schema-version": "V1",
}
for key, value in settings.items():
    session = session.config(key, value)
spark = session.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
EVENTS = "foretap.foretap.events"


def figures(version=""):
    counted = "count(*), count(distinct `user`), coalesce(max(`position`), 0)"
    rows, people, last = spark.sql(f"select {counted} from {EVENTS} {version}").first()
    theirs = spark.sql(f"select count(*) from {EVENTS} {version} where `user` = '{user}'").first()[0]
    read = [row.user for row in spark.sql(f"select `user` from {EVENTS} {version}").collect()].count(user)
    return {"rows": rows, "people": people, "last": last, "theirs": theirs, "theirs_read": read}


references = spark.sql(f"select name, type from {EVENTS}.refs").collect()
snapshots = [row.snapshot_id for row in spark.sql(f"select snapshot_id from {EVENTS}.snapshots").collect()]
json.dump(
    {
        "newest": figures(),
        "tags": {row.name: figures(f"version as of '{row.name}'") for row in references if row.type == "TAG"},
        "snapshots": {snapshot: figures(f"version as of {snapshot}") for snapshot in snapshots},
        "newest_us": spark.sql(f"select unix_micros(max(at)) from {EVENTS}").first()[0],
        "files": spark.sql(f"select count(*) from {EVENTS}.files").first()[0],
        "tables": sorted(row.tableName for row in spark.sql("show tables in foretap.foretap").collect()),
    },
    sys.stdout,
)
spark.stop()
