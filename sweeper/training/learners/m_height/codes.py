"""The data of the m-height task: random codes of 21 kinds with the logarithms of their heights, made once a machine.

P is uniform on (-100, 100), and what is to be learnt is log2 h_m of the code of [I | P]. A code depends on the seed, on
its group and on its place there: not on other groups, the number of codes or the number of threads.
"""

import fcntl
import hashlib
import json
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sweeper.environment.machine import look
from sweeper.errors import StorageError
from sweeper.folder.address import cache_folder
from sweeper.folder.layout import write_atomically
from sweeper.tasks.m_height import GROUPS as PUBLISHED_GROUPS
from sweeper.tasks.m_height import SIDE, is_group
from sweeper.training.learners.m_height.heights import Reals, profiles

DATA_VERSION = 1
"""Counts up when the same question would get other codes: what machines have kept is then of no use."""
LARGEST = 100.0
_BLOCK = 500
_THREADS = 8
"""At most so many: with more, they wait for each other between operations."""

Progress = Callable[[int, int], None]
Targets = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, order=True)
class CodeGroup:
    """A kind of code: its length n, its dimension k, and the m of its height.

    Raises:
        ValueError: P does not fit into 6 x 6, or no code has a finite height of this kind.
    """

    n: int
    k: int
    m: int

    def __post_init__(self) -> None:
        if not is_group(self.n, self.k, self.m):
            raise ValueError(f"got {self}; k is from 1 to {SIDE}, n-k as well, and m from 1 to n-k")


GROUPS = tuple(CodeGroup(*each) for each in PUBLISHED_GROUPS)
"""The 21 of the published experiment."""


@dataclass(frozen=True)
class CodeSelection:
    """All that the codes depend on."""

    per_group: int
    seed: int
    groups: tuple[CodeGroup, ...] = GROUPS


@dataclass(frozen=True)
class Codes:
    """Codes, group after group, each with the same number.

    Attributes:
        groups: the kinds of codes.
        matrices: float32 [N, 6, 6], each P in the upper left corner, zeros around it.
        group: int64 [N], in [0, number of groups).
        target: float32 [N], log2 h_m of exactly this P.
    """

    groups: tuple[CodeGroup, ...]
    matrices: npt.NDArray[np.float32]
    group: Numbers
    target: Targets


@dataclass(frozen=True)
class Statistics:
    """Of the targets of a group: how many, their mean and standard deviation."""

    group: CodeGroup
    count: int
    mean: float
    sd: float


@dataclass(frozen=True)
class ReferenceLines:
    """Baseline values that a prediction has to beat.

    Attributes:
        constant: mean squared error on the validation codes of the mean of all training targets.
        group_mean: the same of the mean of the training targets of the code's group.
        within: variance of the validation targets around the means of their groups.
    """

    constant: float
    group_mean: float
    within: float


def load_or_generate(selection: CodeSelection, progress: Progress | None = None) -> Codes:
    """The codes from the user's cache; without a whole file there they are made, and kept for the next time.

    Processes that need them at the same time wait for the one that makes them. If the cache cannot be written, there
    is a warning, and every process makes its own.

    Args:
        selection: which codes.
        progress: called with the codes that are done and all that are to be made, if they are made in this process.
    """
    path = cached_at(selection)
    found = _load(path, selection)
    if found is not None:
        return found
    with ExitStack() as alone:
        with suppress(OSError):  # the write below says it in words
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = alone.enter_context(open(path.with_suffix(".lock"), "a"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        found = _load(path, selection)
        if found is None:
            found = generate(selection, progress)
            try:
                write_atomically(path, partial(_save, found, selection))
            except StorageError as error:
                warnings.warn(
                    f"{path}: the codes could not be kept ({error.__cause__}); every trial makes them again; "
                    "make room on the disk, or set SWEEPER_CACHE to a folder that can be written",
                    stacklevel=2,
                )
    return found


def generate(selection: CodeSelection, progress: Progress | None = None, threads: int | None = None) -> Codes:
    """Make the codes, on all cores of this process unless a number of threads is given.

    Numpy works without Python's lock for most of the time: two threads took as long as two processes, which a daemon
    cannot have, nor a script without a guarded main.
    """
    per_group, total = selection.per_group, selection.per_group * len(selection.groups)
    matrices = np.zeros((total, SIDE, SIDE), dtype=np.float32)
    target = np.empty(total, dtype=np.float32)
    blocks = [
        (number, place, min(_BLOCK, per_group - place))
        for number in range(len(selection.groups))
        for place in range(0, per_group, _BLOCK)
    ]

    def fill(block: tuple[int, int, int]) -> int:
        number, place, count = block
        group, first = selection.groups[number], number * per_group + place
        P, heights = _draw(group, selection.seed, place // _BLOCK, count)
        matrices[first : first + count, : group.k, : group.n - group.k] = P
        target[first : first + count] = np.log2(heights)
        return count

    done = 0
    with ThreadPoolExecutor(threads or min(look().cores, _THREADS)) as pool:
        for count in pool.map(fill, blocks):
            done += count
            if progress is not None:
                progress(done, total)
    return Codes(selection.groups, matrices, np.repeat(np.arange(len(selection.groups)), per_group), target)


def statistics(codes: Codes) -> tuple[Statistics, ...]:
    """Of every group, in their order."""
    targets = [codes.target[codes.group == number].astype(np.float64) for number in range(len(codes.groups))]
    return tuple(
        Statistics(group, len(each), float(each.mean()), float(each.std(ddof=1)))
        for group, each in zip(codes.groups, targets, strict=True)
    )


def reference_lines(
    train: Targets, train_group: Numbers, validation: Targets, validation_group: Numbers
) -> ReferenceLines:
    """The baselines without a network; every group of the validation codes is among the training codes."""
    y = validation.astype(np.float64)
    return ReferenceLines(
        constant=float(np.square(y - train.mean(dtype=np.float64)).mean()),
        group_mean=float(np.square(y - _group_means(train, train_group)[validation_group]).mean()),
        within=float(np.square(y - _group_means(validation, validation_group)[validation_group]).mean()),
    )


def cached_at(selection: CodeSelection) -> Path:
    """The file that the codes are kept in."""
    return cache_folder() / f"m-height-{hashlib.sha256(_words(selection).encode()).hexdigest()[:16]}.npz"


def _draw(group: CodeGroup, seed: int, block: int, count: int) -> tuple[npt.NDArray[np.float32], Reals]:
    """The first codes of a block: P [count, k, n-k], and their heights [count]."""
    shape = (group.k, group.n - group.k)
    P = _uniform((count, *shape), seed, group, block)
    heights = profiles(P.astype(np.float64))[:, group.m - 1]
    # Infinite with probability 0, but ranks have a tolerance: with m = n-k, one code in 15,000 is drawn again.
    for place in np.flatnonzero(np.isinf(heights)):
        attempt = 0
        while np.isinf(heights[place]):
            P[place] = _uniform(shape, seed, group, block, int(place), attempt)
            heights[place] = profiles(P[place].astype(np.float64)[None])[0, group.m - 1]
            attempt += 1
    return P, heights


def _uniform(shape: tuple[int, ...], seed: int, group: CodeGroup, *place: int) -> npt.NDArray[np.float32]:
    key = (group.n, group.k, group.m, *place)
    drawn = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)).uniform(-LARGEST, LARGEST, shape)
    return drawn.astype(np.float32)


def _group_means(target: Targets, group: Numbers) -> Reals:
    return np.asarray(np.bincount(group, target) / np.maximum(np.bincount(group), 1))


def _words(selection: CodeSelection) -> str:
    groups = [[each.n, each.k, each.m] for each in selection.groups]
    return json.dumps(
        {"version": DATA_VERSION, "seed": selection.seed, "per_group": selection.per_group, "groups": groups}
    )


def _save(codes: Codes, selection: CodeSelection, path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(
            file, asked=np.array(_words(selection)), matrices=codes.matrices, group=codes.group, target=codes.target
        )


def _load(path: Path, selection: CodeSelection) -> Codes | None:
    """The codes of a file; None if there is none, or it is damaged, or it holds other codes."""
    total = selection.per_group * len(selection.groups)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            if str(kept["asked"]) != _words(selection):
                return None
            codes = Codes(selection.groups, kept["matrices"], kept["group"], kept["target"])
    except Exception:  # noqa: BLE001  # a damaged archive fails in many ways, and all mean the same here
        return None
    forms = [(each.dtype.name, each.shape) for each in (codes.matrices, codes.group, codes.target)]
    fits = forms == [("float32", (total, SIDE, SIDE)), ("int64", (total,)), ("float32", (total,))]
    return codes if fits else None
