"""Imported by Ray's workers as they start, while the launch still opens the sweep: slow modules that trials need."""

import gc

# Each of these makes a hundred thousand objects that stay: looking through them for garbage is a sixth of the time.
gc.disable()

import sweeper.runners.tune_adapters  # noqa: E402
import sweeper.training.train  # noqa: E402, F401

gc.enable()
