"""A sweep from a notebook: launch, inspect, query. Cells begin with %%; Jupyter, VS Code and Spyder run them so.

`python docs/example.py` runs all of it, in two to three minutes on two cores; the sweep's folder is results/example.
"""

# %% The space.yaml is the same as for `sweeper launch`; this is a smaller version of a shipped one.
from pathlib import Path

from sweeper import launch, load

space = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
smaller = [
    "name=example",
    "task.modulus=23",
    "objective.horizon=1000",
    "objective.replicates=2",
    "budget.trials=4",
    "confirm={top: 1, replicates: 3}",
    "sampler.startup_trials=2",
]

# %% Train. `where="here"` trains one trial after the other in this process; without it, Ray runs many at once.
sweep = launch(space, smaller, where="here")

# %% A sweep displays its leaderboard. In a notebook the name alone is enough.
print(sweep)

# %% One trial, and two compared on equal seeds.
best = next(row["trial"] for row in sweep.leaderboard().data.rows if not row["baseline"])
print(sweep.trial(best))
print(sweep.compare(best, "constant-128"))

# %% Frames: one row per configuration, per run, per evaluation.
print(sweep.trials[["trial", "phase", "state", "rmst", "batch_shape", "weight_decay"]])
print(sweep.runs.groupby("outcome").size())

# %% SQL, for large tables: the result is a frame.
curve = sweep.query(f"""
    SELECT step, avg(val_accuracy) AS accuracy, stddev_samp(val_accuracy) / sqrt(count(*)) AS error
    FROM curves WHERE trial = {best} GROUP BY step ORDER BY step
""")
print(curve.tail())

# %% Everything in results/, as one set of tables with a column `sweep`.
print(load("results").query("SELECT sweep, count(*) AS trials FROM trials GROUP BY sweep ORDER BY ALL"))
