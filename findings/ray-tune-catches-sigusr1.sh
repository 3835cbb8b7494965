#!/usr/bin/env bash
# Ray Tune 2.60.0: Tuner.fit() replaces the program's own handler of SIGUSR1, although TUNE_DISABLE_SIGINT_HANDLER=1 is set, and returns as if done.
#
# SLURM's --signal=USR1@60 is the usual way to say that the time of a job is nearly up. A program with a handler for it does not get the signal
# while fit() runs: the experiment is ended, its trial is left unfinished, and fit() returns without an exception. The variable, which the
# documentation names for signals, keeps Tune's hands from SIGINT alone.
#
# Output seen:
#   own handler in place during fit: False
#   own handler called: 0
#   fit returned: True, reports of the trial: fewer than 600
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0'
cd "$folder"
cat > program.py <<'PYTHON'
import os
import pathlib
import signal
import sys
import threading
import time

os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"

import ray
from ray import tune

REPORTS = 600
called = []


def own(number, frame):
    called.append(number)


def train(config):
    for step in range(REPORTS):
        time.sleep(0.1)
        tune.report({"step": step})


in_place = []


def later():
    while not any(file.stat().st_size for file in pathlib.Path().rglob("result.json")):
        time.sleep(0.5)
    in_place.append(signal.getsignal(signal.SIGUSR1) is own)
    os.kill(os.getpid(), signal.SIGUSR1)


signal.signal(signal.SIGUSR1, own)
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
threading.Thread(target=later, daemon=True).start()
results = tune.Tuner(train, run_config=tune.RunConfig(storage_path=os.getcwd(), verbose=0)).fit()
seen = (results[0].metrics or {}).get("step", 0) + 1
print("own handler in place during fit:", in_place[0])
print("own handler called:", len(called))
print(f"fit returned: True, reports of the trial: {'fewer than' if seen < REPORTS else 'all of'} {REPORTS}")
ray.shutdown()
sys.exit(0 if not in_place[0] and not called and seen < REPORTS else 1)
PYTHON
"$folder/venv/bin/python" program.py 2> errors || { cat errors >&2; exit 1; }
