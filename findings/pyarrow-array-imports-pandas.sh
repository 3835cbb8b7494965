#!/usr/bin/env bash
# pyarrow 26.0.1 beside pandas 3.1.1: pa.array([1]) imports the whole of pandas.
#
# A program that only writes or reads Arrow values, and never names pandas, pays for its import as soon as pandas is installed. `import pyarrow`
# and `import pyarrow.parquet` do not import it; making the first array does.
#
# Output seen:
#   after import pyarrow.parquet: False
#   after pa.array([1]): True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pandas==3.1.1 pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import pyarrow as pa
import pyarrow.parquet

before = "pandas" in sys.modules
print("after import pyarrow.parquet:", before)
pa.array([1])
after = "pandas" in sys.modules
print("after pa.array([1]):", after)
sys.exit(0 if after and not before else 1)
PYTHON
