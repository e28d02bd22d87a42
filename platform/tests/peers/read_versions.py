"""Reads every version of the events of a lake that foretap wrote, with PyIceberg and DuckDB, and writes what was found as JSON.

    python read_versions.py FOLDER/lake
    python read_versions.py http://127.0.0.1:PORT        by a REST catalog
"""

import json
import sys

import duckdb
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog

place = sys.argv[1]
if place.startswith("http"):
    catalog = RestCatalog("foretap", uri=place)
else:
    catalog = SqlCatalog("foretap", uri=f"sqlite:///{place}/catalog.sqlite", warehouse=f"file://{place}")
events = catalog.load_table("foretap.events")


def figures(scan):
    """What both say of a version: PyIceberg plans and reads it, DuckDB reads the planned files by itself."""
    rows = scan.to_arrow()
    files = [task.file.file_path.removeprefix("file://") for task in scan.plan_files()]
    counted = 'count(*), count(distinct "user"), coalesce(max("position"), 0)'
    by_arrow = duckdb.sql(f"select {counted} from rows").fetchall()[0]
    by_files = duckdb.sql(f"select {counted} from read_parquet($files)", params={"files": files}).fetchall()[0]
    assert by_arrow == by_files, (by_arrow, by_files)
    return {"rows": by_arrow[0], "people": by_arrow[1], "last": by_arrow[2]}


json.dump(
    {
        "current": events.current_snapshot().snapshot_id,
        "history": [entry.snapshot_id for entry in events.history()],
        "newest": figures(events.scan()),
        "snapshots": {s.snapshot_id: figures(events.scan(snapshot_id=s.snapshot_id)) for s in events.snapshots()},
        "tags": {name: figures(events.scan().use_ref(name)) for name in events.refs() if name != "main"},
        "properties": events.properties,
    },
    sys.stdout,
)
