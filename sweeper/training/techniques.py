"""How training is made fast; nothing here changes what is computed, up to rounding."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Techniques:
    """Optimisations that can be switched off, for comparisons.

    Attributes:
        share: compute rows that examples have in common once (`sweeper.training.ops.prefixes`).
        merge: compute an example once that a batch holds several times (`sweeper.training.ops.dedup`); on CPUs.
        graphs: replay CUDA graphs (`sweeper.training.graphs`).
        places: let runs that are over keep their places in the stack, as where graphs are replayed.
    """

    share: bool = True
    merge: bool = True
    graphs: bool = True
    places: bool = False


ALL = Techniques()


def smaller_stack_pays(running: int, places: int) -> bool:
    """Whether a stack in which so many places are in use is worth the captures of a smaller one.

    At half: a stack of R is captured at most log2 R times as its runs end, and computes at most twice what it needs.
    """
    return 2 * running <= places


def bucket(size: int) -> int:
    """The width of the padded batch: the next of k 2^n for k in 4..7, so at most a quarter more than needed."""
    unit = 1 << max(size.bit_length() - 3, 0)
    return -(-size // unit) * unit


_FULL = 1024
"""Examples of all runs together below which a GPU has multiprocessors to spare: a tile of 32 rows for each, four rows
an example."""


def bucket_on_a_gpu(size: int, runs: int) -> int:
    """The same for graphs: each width costs a capture, and padding costs nothing where the GPU is not full.

    A round number, and enough for the runs to fill the GPU at least.
    """
    least = 1 << max(_FULL // runs, 1).bit_length() - 1
    return max(round_number(size), least)


def round_number(size: int) -> int:
    """The next of 2 2^n and 3 2^n, so less than half more than `size`."""
    unit = 1 << max((size - 1).bit_length() - 2, 0)
    return -(-size // unit) * unit
