"""Tasks: what there is to learn. Each builds a `Table` of all its examples and splits it by a seed."""
