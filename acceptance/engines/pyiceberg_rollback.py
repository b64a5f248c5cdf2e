"""Takes the main branch of a table back, as a person does who undoes a sync.

    pyiceberg_rollback.py CATALOG_DB WAREHOUSE NAMESPACE.TABLE SNAPSHOTS
"""

import sys

from pyiceberg_read import open_catalog

catalog_db, warehouse, name, back = sys.argv[1:]
table = open_catalog(catalog_db, warehouse).load_table(name)
target = table.current_snapshot()
for _ in range(int(back)):
    target = table.snapshot_by_id(target.parent_snapshot_id)
with table.manage_snapshots() as change:
    change.set_current_snapshot(target.snapshot_id)
