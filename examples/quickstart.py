# %% [markdown]
# # A sweep from a notebook
#
# Launch, look, compare, query. `examples/quickstart.py` has the same cells as `examples/quickstart.ipynb`: Jupyter,
# VS Code and Spyder run either. All of it takes about two minutes on two cores, and needs a clone of the repository.
#
# The space.yaml is the same as for `sweeper launch`; this is a smaller version of a shipped one.

# %%
from sweeper import launch, load

space = "../search_spaces/quickstart.yaml"
smaller = [
    "name=example",
    "task.modulus=23",
    "objective.horizon=1000",
    "objective.replicates=2",
    "budget.trials=4",
    "confirm={top: 1, replicates: 3}",
    "sampler.startup_trials=2",
]

# %% [markdown]
# Train. `where="here"` trains one trial after the other in this process; without it, Ray runs many at once.

# %%
sweep = launch(space, smaller, where="here")

# %% [markdown]
# A sweep displays its leaderboard. `≥` marks means over runs that were censored at the horizon.

# %%
sweep

# %% [markdown]
# Figures: those of `sweeper report`, by name.

# %%
sweep.figure("survival")

# %%
sweep.figure("learning")

# %% [markdown]
# One trial, and two compared on equal seeds.

# %%
best = next(row["trial"] for row in sweep.leaderboard().data.rows if not row["baseline"])
sweep.trial(best)

# %%
sweep.compare(best, "constant-128")

# %% [markdown]
# Frames: `trials` has one row per configuration, `runs` one per seed, `curves` one per evaluation.

# %%
sweep.trials[["trial", "phase", "state", "rmst", "batch_shape", "weight_decay"]]

# %%
sweep.runs.groupby("outcome").size()

# %% [markdown]
# SQL, for large tables: the result is a frame.

# %%
sweep.query(f"""
    SELECT step, avg(val_accuracy) AS accuracy, stddev_samp(val_accuracy) / sqrt(count(*)) AS error
    FROM curves WHERE trial = {best} GROUP BY step ORDER BY step
""").tail()

# %% [markdown]
# Everything in results/, as one set of tables with a column `sweep`.

# %%
load("results").query("SELECT sweep, count(*) AS trials FROM trials GROUP BY sweep ORDER BY ALL")
