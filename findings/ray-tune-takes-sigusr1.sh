#!/usr/bin/env bash
# Ray Tune 2.60.0: fit() replaces the handler of SIGUSR1, whatever TUNE_DISABLE_SIGINT_HANDLER says, and does not put it back.
#
# SLURM's --signal=USR1 is the usual way to tell a job that its time is nearly over, so a program that runs Tune may have a handler of its own.
# The environment variable keeps Tune from catching Ctrl-C; SIGUSR1 has no such setting. While fit() runs, and after it has returned,
# SIGUSR1 calls Tune's function, and the program's own is gone.
#
# Output seen:
#   before fit: SIGINT own, SIGUSR1 own
#   during fit: SIGINT own, SIGUSR1 Tune's
#   after fit: SIGINT own, SIGUSR1 Tune's
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ray[tune]==2.60.0'
cd "$folder"
TUNE_DISABLE_SIGINT_HANDLER=1 "$folder/venv/bin/python" - 2>errors <<'PYTHON' | grep ' fit: ' | tee seen
import os
import signal

import ray
from ray import tune


def own(number, frame):
    pass


def handlers():
    whose = {each: "own" if signal.getsignal(each) is own else "Tune's" for each in (signal.SIGINT, signal.SIGUSR1)}
    return ", ".join(f"{each.name} {said}" for each, said in whose.items())


class Look(tune.Callback):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        print("during fit:", handlers())


for each in (signal.SIGINT, signal.SIGUSR1):
    signal.signal(each, own)
print("before fit:", handlers())
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
tune.Tuner(
    lambda config: {"score": 1}, run_config=tune.RunConfig(storage_path=os.getcwd(), verbose=0, callbacks=[Look()])
).fit()
print("after fit:", handlers())
PYTHON
diff seen - <<'SEEN'
before fit: SIGINT own, SIGUSR1 own
during fit: SIGINT own, SIGUSR1 Tune's
after fit: SIGINT own, SIGUSR1 Tune's
SEEN
