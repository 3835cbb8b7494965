"""Training: replicates stacked on a leading axis. The only importers of torch."""
