"""Hyperparameter sweeps for time-to-threshold. `sweeper.launch.launch` is what `sweeper launch` calls."""
