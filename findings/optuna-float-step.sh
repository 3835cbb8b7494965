#!/usr/bin/env bash
# Optuna 5.0.0: a float range with a step suggests its own upper end with an error of binary fractions, and a range that ends at
# that number has one value less.
#
# FloatDistribution(0.1, 1.0, step=0.3) has four values. The grid of the last one comes out as 0.9999999999999999. A distribution
# built with that number as its upper end is moved down to 0.7 with a warning that the range is not divisible by the step, and does not
# contain the number any more. So a suggested value cannot make the round trip into the bounds of a distribution.
#
# Output seen:
#   suggested: 0.1 0.4 0.7 0.9999999999999999
#   upper end of a distribution that ends at the last one: 0.7
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet optuna==5.0.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import optuna
from optuna.distributions import FloatDistribution

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
seen = sorted({study.ask().suggest_float("x", 0.1, 1.0, step=0.3) for _ in range(200)})
print("suggested:", *seen)
shorter = FloatDistribution(0.1, seen[-1], step=0.3)
print("upper end of a distribution that ends at the last one:", shorter.high)
sys.exit(0 if len(seen) == 4 and seen[-1] != 1.0 and abs(shorter.high - 0.7) < 1e-9 else 1)
PYTHON
