"""Deletes one row of a table, then expires all snapshots but that of the deletion.

    pyiceberg_expire.py CATALOG_DB WAREHOUSE NAMESPACE.TABLE COLUMN VALUE
"""

import sys

from pyiceberg.expressions import EqualTo
from pyiceberg_read import open_catalog

catalog_db, warehouse, name, column, value = sys.argv[1:]
table = open_catalog(catalog_db, warehouse).load_table(name)
table.delete(EqualTo(column, int(value)))
table = table.refresh()
current = table.current_snapshot().snapshot_id
table.maintenance.expire_snapshots().by_ids([s.snapshot_id for s in table.snapshots() if s.snapshot_id != current]).commit()
