"""How Optuna's trials say that a time is not known, but longer than some."""

BEYOND = "beyond"
"""User attribute of a trial that was pruned: the logarithm of a time that it is known to exceed, in place of the last
step that it reported.
"""
