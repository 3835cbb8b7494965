"""Hyperparameter sweeps for time-to-threshold. `sweeper.launching.launch` is what `sweeper launch` calls."""
