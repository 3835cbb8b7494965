"""Reports: what the tables say, for people."""
