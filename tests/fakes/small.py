"""A sweep small enough for tests: seconds on one core, with real training."""

from pathlib import Path

import pandas as pd

SPACE = """\
name: small
task: {name: modular_arithmetic, operation: x_plus_y, modulus: 7, train_fraction: 0.7}
objective: {until: train_accuracy > 0.3, horizon: 60, evaluate_every: 5, replicates: 2}
search:
  batch.max: {choice: [8, 16]}
  heads: {choice: [1, 2]}
fixed: {width: 32, depth: 1, learning_rate: 5.0e-3, warmup_steps: 5, weight_decay: 0.0}
baselines:
  published: {batch.max: 24, heads: 1}
sampler: {name: grid}
stop: none
budget: {trials: 5}
resources: {cpu: 1}
"""


def write(folder: Path, text: str = SPACE) -> Path:
    """The small space.yaml in a folder; its results go below the same folder."""
    path = folder / "space.yaml"
    path.write_text(text + f"results: {folder / 'results'}\n")
    return path


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / "results" / "small" / name)
