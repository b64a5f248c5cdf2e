"""Reads tables of an object store through PyIceberg and DuckDB and prints them in the form of canonical.py.

    s3_read.py < {"store": {"endpoint": …, "region": …, "access_key_id": …, "secret_access_key": …}, "rest": URI or "",
                  "tables": {"NAMESPACE.TABLE": ["METADATA_JSON", "id,…"]}}

    {"NAMESPACE.TABLE": {"pyiceberg": …, "duckdb": …}, …}

A REST catalog is asked for the metadata files.
"""

import json
import sys
import urllib.parse

import canonical
import duckdb_read
import pyiceberg_read
from duckdb_iceberg import connect
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.table import StaticTable

asked = json.load(sys.stdin)
store = asked["store"]
properties = {
    "s3.endpoint": store["endpoint"],
    "s3.region": store["region"],
    "s3.access-key-id": store["access_key_id"],
    "s3.secret-access-key": store["secret_access_key"],
}
catalog = RestCatalog("rest", uri=asked["rest"], **properties) if asked["rest"] else None
connection = connect("httpfs")
connection.execute(
    "CREATE SECRET (TYPE s3, KEY_ID '{access_key_id}', SECRET '{secret_access_key}', REGION '{region}', ENDPOINT '{host}',"
    " URL_STYLE 'path', USE_SSL false)".format(host=urllib.parse.urlsplit(store["endpoint"]).netloc, **store)
)
readings = {}
for name, (metadata, key) in asked["tables"].items():
    if catalog:
        # Nessie would have PyIceberg read files through fsspec, with signatures of its own.
        metadata = catalog.load_table(name).metadata_location
    table = StaticTable.from_metadata(metadata, properties)
    readings[name] = {
        "pyiceberg": pyiceberg_read.read(table, key.split(",")),
        "duckdb": duckdb_read.read(connection, metadata, key.split(",")),
    }
canonical.dump(readings)
