"""Results: what a finished trial leaves in Parquet, and how it is read back."""
