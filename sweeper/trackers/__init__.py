"""Trackers: other programs that are told of every finished trial; each is the only importer of its library."""
