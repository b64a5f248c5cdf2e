"""DuckDB with its Iceberg extension."""

import importlib
import pathlib

import duckdb


def connect(*others: str) -> duckdb.DuckDBPyConnection:
    """Opens a connection with the extensions, and others, as PyPI ships them: nothing is fetched when they load."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for name in ("avro", "iceberg", *others):  # in this order: iceberg would install avro itself
        package = pathlib.Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
        path = package / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        connection.load_extension(str(path))
    return connection
