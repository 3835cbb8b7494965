#!/usr/bin/env bash
# DuckDB 2.0.0 beside pandas 3.1.1: fetchall() of a TIMESTAMP WITH TIME ZONE needs pytz, which neither of the two installs.
#
# Parquet written by pandas or pyarrow with a UTC column reads back as TIMESTAMP WITH TIME ZONE. .df() and .arrow() give it out; fetchall()
# raises. Up to pandas 2 pytz came along with pandas; pandas 3 dropped it, and DuckDB's wheel does not ask for it.
#
# Output seen:
#   pytz installed: False
#   arrow rows: 1
#   fetchall: InvalidInputException, names pytz: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.0 pandas==3.1.1 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.util
import sys

import duckdb
import pandas as pd

pd.DataFrame({"moment": [pd.Timestamp("2026-01-02", tz="UTC")]}).to_parquet("times.parquet")
present = importlib.util.find_spec("pytz") is not None
print("pytz installed:", present)
print("arrow rows:", duckdb.sql("select moment from 'times.parquet'").to_arrow_table().num_rows)
try:
    duckdb.sql("select moment from 'times.parquet'").fetchall()
except duckdb.Error as error:
    named = "pytz" in str(error)
    print(f"fetchall: {type(error).__name__}, names pytz: {named}")
    sys.exit(0 if named and not present else 1)
sys.exit(1)
PYTHON
