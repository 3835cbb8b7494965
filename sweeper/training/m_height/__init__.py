"""The m-height task: exact heights of random linear codes, and codes to learn from. Without torch."""
