"""How training is made fast; nothing here changes what is computed, up to rounding."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Techniques:
    """What is used; for comparisons.

    Attributes:
        share: compute rows that examples have in common once (`sweeper.training.ops.prefixes`).
        merge: compute an example once that a batch holds several times (`sweeper.training.ops.dedup`); on CPUs.
        graphs: replay CUDA graphs (`sweeper.training.graphs`).
    """

    share: bool = True
    merge: bool = True
    graphs: bool = True


ALL = Techniques()


def bucket(size: int) -> int:
    """The width of the padded batch: the next of k 2^n for k in 4..7, so at most a quarter more than asked for."""
    unit = 1 << max(size.bit_length() - 3, 0)
    return -(-size // unit) * unit
