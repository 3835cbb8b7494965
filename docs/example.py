"""A sweep from a notebook: launch it, look at it, ask it. Cells begin with %%; Jupyter, VS Code and Spyder run them so.

`python docs/example.py` runs all of it, in two to three minutes on two cores; the sweep's folder is results/example.
"""

# %% Ask a question. The space.yaml is the same as for `sweeper launch`; here a smaller version of one that is shipped.
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

# %% Train. `where="here"` takes one trial after the other in this process; without it, Ray runs many at once.
sweep = launch(space, smaller, where="here")

# %% A sweep displays its leaderboard. In a notebook the name alone is enough.
print(sweep)

# %% One trial, and two compared on equal seeds.
best = sweep.leaderboard().data.rows[0]["trial"]
print(sweep.trial(best))
print(sweep.compare(best, "constant-128"))

# %% Frames: one row a configuration, one a run, one an evaluation.
print(sweep.trials[["trial", "phase", "state", "rmst", "batch_shape", "weight_decay"]])
print(sweep.runs.groupby("outcome").size())

# %% SQL, where the tables are large: the answer is a frame.
curve = sweep.query(f"""
    SELECT step, avg(val_accuracy) AS accuracy, stddev_samp(val_accuracy) / sqrt(count(*)) AS error
    FROM curves WHERE trial = {best} GROUP BY step ORDER BY step
""")
print(curve.tail())

# %% Everything in results/, as one set of tables with a column `sweep`.
print(load("results").query("SELECT sweep, count(*) AS trials FROM trials GROUP BY sweep ORDER BY ALL"))
