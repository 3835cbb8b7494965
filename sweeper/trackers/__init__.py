"""Trackers: adapters to other programs that record every finished trial; each is the only importer of its library."""
