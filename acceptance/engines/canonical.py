"""One JSON form for what an engine reads, so that two engines that agree print the same bytes.

    {"metadata_location": "file:///…/00003-….metadata.json",
     "schema": [["id", "string"], ["score", "struct<strain: double>"], …],
     "rows": [{"id": "a", "score": {"strain": 8.2}, …}, …],
     "files": {"data": 2, "position_deletes": 1, "equality_deletes": 0}}

Types carry Iceberg's names. Rows hold every column, in schema order, and are sorted by the key columns.
long and boolean are JSON's own; a double is the shortest text that reads back the same ("NaN", "Infinity" and
"-Infinity" as strings); a decimal is a string of full scale; timestamptz is "2024-01-31T23:59:59.123456Z",
timestamp the same without Z, date "2024-01-31"; binary is hexadecimal; a struct is an object.
"""

import datetime
import decimal
import json
import math
import sys

import pyarrow as pa

_PRIMITIVES = {
    pa.string(): "string",
    pa.large_string(): "string",
    pa.bool_(): "boolean",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp",
    pa.time64("us"): "time",
    pa.binary(): "binary",
    pa.large_binary(): "binary",
}


def type_name(t: pa.DataType) -> str:
    if t in _PRIMITIVES:
        return _PRIMITIVES[t]
    if pa.types.is_timestamp(t) and t.unit == "us":
        return "timestamptz"
    if pa.types.is_decimal(t):
        return f"decimal({t.precision}, {t.scale})"
    if pa.types.is_struct(t):
        return "struct<" + ", ".join(f"{f.name}: {type_name(f.type)}" for f in t) + ">"
    if pa.types.is_list(t) or pa.types.is_large_list(t):
        return f"list<{type_name(t.value_type)}>"
    raise TypeError(f"no Iceberg name for the Arrow type {t}")


def value(v):
    match v:
        case None | bool() | int() | str():
            return v
        case float():
            if math.isfinite(v):
                return v
            return "NaN" if math.isnan(v) else "Infinity" if v > 0 else "-Infinity"
        case decimal.Decimal():
            return format(v, "f")
        case datetime.datetime():
            if v.tzinfo is None:
                return v.isoformat(timespec="microseconds")
            utc = v.astimezone(datetime.UTC).replace(tzinfo=None)
            return utc.isoformat(timespec="microseconds") + "Z"
        case datetime.date():
            return v.isoformat()
        case datetime.time():
            return v.isoformat(timespec="microseconds")
        case bytes():
            return v.hex()
        case list():
            return [value(e) for e in v]
        case dict():
            return {k: value(e) for k, e in v.items()}
    raise TypeError(f"no JSON form for {type(v).__name__}")


def document(table: pa.Table, *, key: list[str], metadata_location: str, files: dict[str, int]) -> dict:
    rows = table.to_pylist()
    # Null keys come first; a key that an engine does not return is a KeyError.
    rows.sort(key=lambda row: [(row[column] is not None, row[column]) for column in key])
    return {
        "metadata_location": metadata_location,
        "schema": [[field.name, type_name(field.type)] for field in table.schema],
        "rows": [value(row) for row in rows],
        "files": files,
    }


def dump(document) -> None:
    json.dump(document, sys.stdout, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    print(flush=True)
