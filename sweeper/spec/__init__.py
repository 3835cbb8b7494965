"""The space.yaml: reading it, checking it, and the records it becomes."""
