"""A lake whose events have other columns than this build's, and another writer of it, with PyIceberg.

    python columns_lake.py older FOLDER/lake             makes the events anew, empty, as an older build had them: without `network`,
                                                         and with narrower numbers
    python columns_lake.py append FOLDER/lake NUMBER     appends so many rows, a commit each, under the columns of when it began
    python columns_lake.py newer FOLDER/lake             adds a column and widens one, as a newer build does
    python columns_lake.py read FOLDER/lake              writes what is there as JSON
"""

import json
import sys
import time

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, DayTransform
from pyiceberg.types import IntegerType, LongType, StringType
from sqlalchemy.exc import OperationalError

task, folder = sys.argv[1], sys.argv[2]
catalog = SqlCatalog("foretap", uri=f"sqlite:///{folder}/catalog.sqlite", warehouse=f"file://{folder}")
NAME = "foretap.events"
START_US = 1_793_491_200_000_000


def until_first(change):
    """Does it again where another commit came first."""
    while True:
        try:
            return change(catalog.load_table(NAME))
        except (CommitFailedException, OperationalError):
            time.sleep(0.01)


def older():
    table = catalog.load_table(NAME)
    fields = []
    for field in table.schema().fields:
        if field.name == "position":
            field = field.model_copy(update={"field_type": IntegerType()})
        if field.name != "network":
            fields.append(field)
    schema = Schema(*fields)
    spec = PartitionSpec(
        PartitionField(schema.find_field("at").field_id, 1000, DayTransform(), "at_day"),
        PartitionField(schema.find_field("user").field_id, 1001, BucketTransform(4), "user_bucket"),
    )
    catalog.drop_table(NAME)
    location = f"file://{folder}/foretap/older"
    catalog.create_table(NAME, schema, location=location, partition_spec=spec, properties=table.properties)


def append(number):
    # The columns that this writer was built with: it does not learn of others.
    columns = schema_to_pyarrow(catalog.load_table(NAME).schema(), include_field_ids=False)
    print("ready", flush=True)
    for position in range(1, number + 1):
        at = START_US + position * 1_000_000
        row = {"user": "u00000000000000aa", "at": at, "number": 0, "utc_offset_secs": 0, "signal": "unlock"}
        row |= {"key_id": "k1", "received_at": at, "partition": "other/0", "position": position}
        values = {field.name: pa.array([row.get(field.name)], field.type) for field in columns}
        until_first(lambda table: table.append(pa.table(values, schema=columns)))


def newer(table):
    with table.update_schema() as update:
        update.add_column("weather", StringType())
        update.update_column("number", LongType())


def read():
    table = catalog.load_table(NAME)
    rows = table.scan().to_arrow()
    known = rows["user"].to_pylist()
    json.dump(
        {
            "rows": rows.num_rows,
            "types": {field.name: str(field.field_type) for field in table.schema().fields},
            "ids": {field.name: field.field_id for field in table.schema().fields},
            "null": {name: rows[name].null_count for name in rows.column_names},
            "others": table.scan(row_filter="user == 'u00000000000000aa'").to_arrow().num_rows,
            "others_read": known.count("u00000000000000aa"),
            "positions": sorted(zip(rows["partition"].to_pylist(), rows["position"].to_pylist())),
        },
        sys.stdout,
    )


match task:
    case "older":
        older()
    case "append":
        append(int(sys.argv[3]))
    case "newer":
        until_first(newer)
    case "read":
        read()
