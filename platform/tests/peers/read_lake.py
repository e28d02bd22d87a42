"""Reads a lake that foretap wrote, with PyIceberg and DuckDB, and writes what they found as JSON.

    python read_lake.py FOLDER/lake [TAG]

The files of a lake on S3 are read from AWS_ENDPOINT_URL.
"""

import json
import os
import sys

import duckdb
from pyiceberg.catalog.sql import SqlCatalog

folder, tag = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
s3 = {}
if "AWS_ENDPOINT_URL" in os.environ:
    s3 = {"s3.endpoint": os.environ["AWS_ENDPOINT_URL"], "s3.region": os.environ["AWS_REGION"]}
catalog = SqlCatalog("foretap", uri=f"sqlite:///{folder}/catalog.sqlite", warehouse=f"file://{folder}", **s3)
found = {}
for name in ["events", "impressions", "dead_letters"]:
    table = catalog.load_table(f"foretap.{name}")
    rows = table.scan().to_arrow()
    found[name] = {
        "rows": rows.num_rows,
        "columns": {field.name: str(field.type) for field in rows.schema},
        "snapshots": len(table.snapshots()),
        "tags": sorted(name for name in table.refs() if name != "main"),
    }
events = catalog.load_table("foretap.events")
rows = events.scan().to_arrow()
first = rows["user"][0].as_py()
found["one_user"] = {
    "user": first,
    # By the partition's bucket and by the files' bounds, and by reading everything.
    "filtered": events.scan(row_filter=f"user == '{first}'").to_arrow().num_rows,
    "read": sum(user == first for user in rows["user"].to_pylist()),
}
found["launches_in_duckdb"] = duckdb.sql("select count(*) from rows where signal = 'launch'").fetchall()[0][0]
found["newest_us"] = int(max(rows["at"].to_pylist()).timestamp() * 1_000_000)
if tag:
    snapshot = events.snapshot_by_name(tag)
    found["tagged_rows"] = events.scan(snapshot_id=snapshot.snapshot_id).to_arrow().num_rows
json.dump(found, sys.stdout)
