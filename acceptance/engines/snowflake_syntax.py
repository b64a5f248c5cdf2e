"""Parses SQL for Snowflake: snowflake_syntax.py < ["SELECT …", …]. It ends with an error at the first text that is none."""

import json
import sys

import sqlglot

for query in json.load(sys.stdin):
    sqlglot.parse_one(query, read="snowflake")
