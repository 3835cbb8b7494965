"""How many trials share a GPU best: trained for a few seconds alone, then in twos, fours and so on, and measured.

Every trial is a process of its own, as under a runner. The first keep training while the next ones join them. What is
decided on is pure: `next_size` and `best` look at measurements alone.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from textwrap import shorten
from typing import TypeVar, cast

from sweeper.trial import Assignment, Engine, OpenEngine, Train

Trial = TypeVar("Trial")

GAIN = 1.05
"""How many times as fast a company has to be to be worth its memory."""
_FILL = 0.9
"""The part of the free memory that trials may take."""
_SECONDS = 2.0
_PATIENCE = 120.0
"""Seconds in which every trial of a company has to deliver; compiling the first step takes a part of it."""


@dataclass(frozen=True)
class Company:
    """Trials that trained on one GPU at once.

    Attributes:
        trials: how many.
        rate: updates of single models a second, of all the trials together.
        memory: bytes of the GPU that all of them take, with their CUDA contexts.
    """

    trials: int
    rate: float
    memory: int


@dataclass(frozen=True)
class Probe:
    """A measurement: companies of 1, 2, 4, ... trials, and why there is no larger one.

    There is no company at all where not even one trial could be measured.
    """

    companies: tuple[Company, ...]
    ended: str


class _Refused(Exception):
    """A company could not be measured."""


def probe(train: Train, assignment: Assignment, most: int) -> Probe | None:
    """Measure on the GPU that this process was given; None where torch sees none.

    Args:
        train: the training function; it can be pickled.
        assignment: what every trial of a company trains, over and over until it has been measured.
        most: the largest company to try.
    """
    import torch  # noqa: PLC0415  # takes seconds, and every trial's process imports this module before it trains

    if not torch.cuda.is_available():
        return None
    return measure(train, assignment, most, lambda: torch.cuda.mem_get_info()[0], _SECONDS)


def measure(train: Train, assignment: Assignment, most: int, free: Callable[[], int], seconds: float) -> Probe:
    """Measure companies until none that is larger is worth it.

    Args:
        train, assignment, most: see `probe`.
        free: free bytes on the device.
        seconds: how long each company is measured, once all of it train.
    """
    room, companies = free(), list[Company]()
    with ExitStack() as started:
        trials: list[Connection] = []
        while isinstance(size := next_size(companies, room, most), int):
            trials += [started.enter_context(_training(train, assignment)) for _ in range(size - len(trials))]
            try:
                rate = _rate(_chunks(trials), trials, seconds)
            except _Refused as refusal:
                return Probe(tuple(companies), f"{size} at once: {refusal}")
            # Trials do not give memory back while they train, so now is when they have the most of it.
            companies.append(Company(size, rate, room - free()))
    return Probe(tuple(companies), size)


def probe_together(open_engine: OpenEngine, assignment: Assignment, most: int) -> Probe | None:
    """As `probe`, but every company trains in one engine, in this process."""
    import torch  # noqa: PLC0415  # as above

    if not torch.cuda.is_available():
        return None
    engine = open_engine(assignment.cpu, assignment.precision)
    return measure_together(engine, assignment, most, lambda: torch.cuda.mem_get_info()[0], _SECONDS)


def measure_together(
    engine: Engine, assignment: Assignment, most: int, free: Callable[[], int], seconds: float
) -> Probe:
    """As `measure`, but every company trains in the engine."""
    room, companies, trials = free(), list[Company](), dict[int, int]()
    chunks = _stepped(engine, assignment, trials)
    while isinstance(size := next_size(companies, room, most), int):
        try:
            for number in range(len(trials), size):
                engine.admit(replace(assignment, number=number))
                trials[number] = number
            rate = _rate(chunks, trials, seconds)
        except Exception as error:  # noqa: BLE001  # the user's code or torch: why this company cannot be
            return Probe(tuple(companies), f"{size} at once: {shorten(f'{type(error).__name__}: {error}', 200)}")
        companies.append(Company(size, rate, room - free()))
    return Probe(tuple(companies), size)


def _stepped(engine: Engine, assignment: Assignment, trials: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Every chunk as it is trained: which trial's, and its updates. A trial that is over begins once more."""
    while True:
        for number, event in engine.step():
            if isinstance(event, BaseException):
                raise event
            if event is not None:
                yield number, len(event) * assignment.objective.evaluate_every
            if event is None or event.last:
                engine.admit(replace(assignment, number=number))


def next_size(companies: Sequence[Company], room: int, most: int) -> int | str:
    """How many trials to measure next, or in words why no more.

    Args:
        companies: what has been measured, in this order.
        room: free bytes on the device before the first.
        most: the largest company to try.
    """
    if not companies:
        return 1
    last = companies[-1]
    size = 2 * last.trials
    if best(companies) != last:
        return f"{last.trials} at once gain less than {GAIN - 1:.0%}"
    if size > most:
        return f"there are cores for {most} at once"
    needed = last.memory / last.trials * size
    if needed > _FILL * room:
        return f"{size} at once need {needed / 2**30:.1f} GiB, and {room / 2**30:.1f} GiB are free"
    return size


def best(companies: Sequence[Company]) -> Company:
    """The company with the highest rate; a larger one has to be faster by `GAIN`."""
    found = companies[0]
    for company in companies[1:]:
        if company.rate >= GAIN * found.rate:
            found = company
    return found


def verdict(probe: Probe | None, runs: int = 0) -> tuple[float, str]:
    """The share of a GPU that trials are to get, and why; `runs` of each trial, where they train in one engine."""
    if probe is None:
        return 0.0, "torch sees no GPU, so trials train on the CPU; sweeper doctor may say why"
    if not probe.companies:
        return 1.0, f"not measured ({probe.ended}), so trials do not share a GPU"
    alone, chosen = probe.companies[0], best(probe.companies)
    share, each = 1 / chosen.trials, f"{chosen.memory / chosen.trials / 2**30:.1f} GiB"
    if chosen == alone:
        return share, f"measured 1 ({alone.rate:,.0f} model steps/s, {each}; {probe.ended})"
    rates = f"{chosen.rate:,.0f} model steps/s against {alone.rate:,.0f} alone"
    if runs:
        rates = f"in one engine, {runs * chosen.trials} runs in a stack: {rates}"
    return share, f"measured {share:g} ({chosen.trials} trials at once: {rates}, {each} each; {probe.ended})"


def _rate(chunks: Iterator[tuple[Trial, int]], trials: Iterable[Trial], seconds: float) -> float:
    """Updates of single models a second, of all trials together, each counted between its chunks.

    Counting begins when every trial has delivered a chunk: all of them train, and are past compiling.
    """
    cold = set(trials)
    received: dict[Trial, list[tuple[float, int]]] = {each: [] for each in cold}
    while cold:
        cold.discard(next(chunks)[0])
    until = time.monotonic() + seconds
    while time.monotonic() < until or min(map(len, received.values())) < 2:
        trial, updates = next(chunks)
        received[trial].append((time.monotonic(), updates))
    return sum(
        sum(updates for _, updates in later) / (later[-1][0] - first) for (first, _), *later in received.values()
    )


def _chunks(trials: Sequence[Connection]) -> Iterator[tuple[Connection, int]]:
    """Every chunk as it is delivered: which trial's, and its updates.

    Raises _Refused when a trial failed or died, or when measuring takes too long.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for trial in cast(list[Connection], wait(trials, timeout=1)):
            try:
                message: int | str = trial.recv()
            except EOFError:
                raise _Refused("a process died") from None
            if isinstance(message, str):
                raise _Refused(message)
            yield trial, message
    raise _Refused(f"not measured within {_PATIENCE:.0f} seconds")


@contextmanager
def _training(train: Train, assignment: Assignment) -> Iterator[Connection]:
    """A process that trains until the block ends; says the updates in every chunk, or in words why it failed."""
    spawn = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_train_on, args=(train, assignment.to_json(), theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.terminate()
        process.join()
        ours.close()


def _train_on(train: Train, text: str, trial: Connection) -> None:
    """Train an assignment over and over, until nobody listens."""
    assignment = Assignment.from_json(text)
    try:
        while True:
            for chunk in train(assignment):
                trial.send(len(chunk) * assignment.objective.evaluate_every)
    except BrokenPipeError:
        pass
    except Exception as error:  # noqa: BLE001  # the user's code or torch: why this company cannot be
        trial.send(shorten(f"{type(error).__name__}: {error}", 200))
