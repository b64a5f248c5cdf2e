"""One DAG for each connection: a directory with source.json, destination.json and catalog.json.

The state is in the tables, so that a task that is retried, or runs on another worker, continues where the last one
stopped. WHOOP_ICEBERG_CONNECTIONS is the directory of the connections, WHOOP_ICEBERG_SYNC the path of sync.sh.
"""

import os
import re
from datetime import datetime, timedelta
from pathlib import Path
from shlex import quote

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

CONNECTIONS = Path(os.environ.get("WHOOP_ICEBERG_CONNECTIONS", "/etc/whoop-iceberg"))
SYNC = os.environ.get("WHOOP_ICEBERG_SYNC", "/usr/local/lib/whoop-iceberg/sync.sh")

for catalog in sorted(CONNECTIONS.glob("*/catalog.json")):
    directory = catalog.parent
    with DAG(
        dag_id="whoop_to_iceberg_" + re.sub(r"[^\w.-]", "_", directory.name),
        schedule=timedelta(minutes=15),
        start_date=datetime(2026, 1, 1),
        catchup=False,  # a sync reads everything that has changed, whenever the last one was
        max_active_runs=1,
        tags=["whoop", "iceberg"],
    ) as dag:
        BashOperator(
            task_id="sync",
            bash_command=f"{quote(SYNC)} {quote(str(directory))}",
            append_env=True,
            retries=3,
            retry_delay=timedelta(minutes=1),
            retry_exponential_backoff=True,
            execution_timeout=timedelta(hours=6),
        )
    globals()[dag.dag_id] = dag
