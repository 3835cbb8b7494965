"""The search: which configuration next, and when a trial can no longer matter."""
