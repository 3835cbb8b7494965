"""Tasks as a space.yaml declares them: their keys, metrics and hyperparameters, without the code that trains."""
