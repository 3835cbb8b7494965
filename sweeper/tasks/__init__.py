"""Tasks as a space.yaml names them: their keys, and what everything but training has to know of them."""
