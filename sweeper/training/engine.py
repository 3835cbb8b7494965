"""Trials that train on one device together: those that can share a stack do, and stacks take turns by what they cost.

A trial is admitted at any time, joins a stack at the next evaluation of that, and leaves it when its runs are over or
it is removed: nobody waits for the others ("continuous batching", Yu et al., "Orca", OSDI 2022).
"""

import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sweeper.config.model import Precision
from sweeper.training.checkpoint import Pace, pack, unpack
from sweeper.training.cohort import Cohort
from sweeper.training.device import name_of, prepare
from sweeper.training.graphs import Captures
from sweeper.training.learners.learner import Learner, Run
from sweeper.training.learners.registry import learner_of
from sweeper.training.techniques import ALL, Techniques
from sweeper.training.turns import JoinError, Turns
from sweeper.trial import (
    Assignment,
    BesideOthersError,
    Chunk,
    Columns,
    RunParameters,
    UnusableStateError,
    seeds_of,
)

CHUNK_SECONDS = 1.0
"""How long to train between two chunks: long enough to keep bookkeeping cheap, short enough to be stopped soon."""

Event = Chunk | BaseException | None
"""Of a trial: the next chunk; the exception that ended it; None at its end, where no chunk has said that it is."""


@dataclass
class _Tenant:
    """A trial in the engine.

    Attributes:
        assignment: the trial.
        task, learner: its task as text, and what trains it.
        stacks: its runs, those that are alike together; one after the other trains.
        place: which of them trains now.
        pace: of its states.
        pending: evaluations since its last chunk.
        kept: parameters of runs that are kept since.
        since: when that was.
        captures: of graphs, to be reported with its next chunk.
    """

    assignment: Assignment
    task: str
    learner: Learner
    stacks: list[list[Run]]
    place: int = 0
    pace: Pace = field(default_factory=Pace)
    pending: list[Columns] = field(default_factory=list)
    kept: list[RunParameters] = field(default_factory=list)
    since: float = field(default_factory=time.perf_counter)
    captures: Captures = field(default_factory=Captures)


class StackedEngine:
    """All trials that train on a device.

    Args:
        device: where.
        runs: the most runs in one stack; a trial with more of its own still trains in one.
        techniques: what to use.
    """

    def __init__(self, device: torch.device, runs: int = 10**9, techniques: Techniques = ALL):
        self._device, self._techniques = device, techniques
        self._tenants: dict[int, _Tenant] = {}
        self._turns = Turns(device, runs)
        self._learners: dict[str, Learner] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._tenants

    def __len__(self) -> int:
        return len(self._tenants)

    @property
    def stacks(self) -> list[set[int]]:
        """The trials of every stack."""
        return [turn.cohort.training for turn in self._turns.busy]

    @property
    def waiting(self) -> int:
        """Stacks without trials, whose captures the next trial of their architecture goes on with."""
        return self._turns.waiting

    def admit(self, assignment: Assignment) -> None:
        """Begin a trial, or go on with it from its state.

        Raises:
            UnusableStateError: the assignment's state is of another version, or damaged.
            BesideOthersError: it trains, but not in the stack of others.
        Exception: whatever torch or the task raises. The trial is then not in the engine, all others are.
        """
        task = assignment.task.model_dump_json()
        learner = self._learners[task] if task in self._learners else learner_of(assignment.task)
        self._learners[task] = learner
        resumed = None if assignment.state is None else unpack(assignment.state)
        stacks = _stacks(learner, assignment)
        tenant = _Tenant(assignment, task, learner, stacks, resumed["stack"] if resumed else 0)
        if not 0 <= tenant.place < len(stacks):
            raise UnusableStateError(f"stack: got {tenant.place}; the trial has {len(stacks)}, counted from 0")
        self._place(tenant, resumed["cohort"] if resumed else None)
        self._tenants[assignment.number] = tenant

    def remove(self, number: int) -> None:
        """Let a trial go, if it is still there."""
        if self._tenants.pop(number, None) is not None:
            self._turns.leave(number)

    def step(self) -> list[tuple[int, Event]]:
        """Train one stack up to its next evaluation, and give what its trials have to say: number and event.

        What a stack raises ends all the trials in it, and no other; as a BesideOthersError where there are several.
        """
        if not self._turns.busy:
            return []
        turn = min(self._turns.busy, key=lambda each: each.cost)
        sharing = turn.cohort.training
        for number in sharing:
            self._tenants[number].pace.resume()
        began, captured = time.perf_counter(), turn.cohort.captures
        try:
            columns = turn.cohort.evaluate() if sharing else {}
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the user's code or torch: its failure is the outcome of its trials
            self._turns.remove(turn)
            if isinstance(error, torch.OutOfMemoryError):
                self._turns.drop_waiting()
            for number in sharing:
                del self._tenants[number]
            return [(number, error if len(sharing) == 1 else _shared(error)) for number in sharing]
        turn.cost += (time.perf_counter() - began) / max(len(sharing), 1)
        owners = np.array(turn.cohort.trials)
        for number in sharing:
            tenant = self._tenants[number]
            tenant.pending.append({name: each[owners == number] for name, each in columns.items()})
            if tenant.assignment.keep is not None:
                tenant.kept += turn.cohort.kept(number, tenant.assignment.keep)
        if sharing:  # one of them reports what was captured for all
            self._tenants[min(sharing)].captures += turn.cohort.captures - captured
        numbers = sorted(set(turn.cohort.trials))
        return [event for number in numbers for event in self._said(self._tenants[number], turn.cohort)]

    def _said(self, tenant: _Tenant, cohort: Cohort) -> Iterator[tuple[int, Event]]:
        """The events of a trial after an evaluation."""
        number, pace = tenant.assignment.number, tenant.pace
        over, last = number not in cohort.training, tenant.place == len(tenant.stacks) - 1
        due, state = time.perf_counter() - tenant.since >= CHUNK_SECONDS, None
        if due and pace.due:
            pace.begin()
            state = pack({"stack": tenant.place, "cohort": cohort.state(number)})
        if (due or over) and tenant.pending:
            yield number, self._chunk(tenant, state, last=over and last)
        elif over and last:
            yield number, None
        if not over:
            return
        self._turns.leave(number)
        if last:
            del self._tenants[number]
            return
        tenant.place += 1
        try:
            self._place(tenant, None)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # as above
            del self._tenants[number]
            yield number, error

    def _chunk(self, tenant: _Tenant, state: bytes | None, *, last: bool) -> Chunk:
        pending, tenant.pending, tenant.since = tenant.pending, [], time.perf_counter()
        kept, tenant.kept = tuple(tenant.kept), []
        captures, tenant.captures = tenant.captures, Captures()
        columns = {name: np.concatenate([each[name] for each in pending]) for name in pending[0]}
        return Chunk(columns, name_of(self._device), state, last, kept, captures.count, captures.seconds)

    def _place(self, tenant: _Tenant, state: dict[str, Any] | None) -> None:
        """Let the tenant's present runs train: beside others where they may."""
        assignment = tenant.assignment
        cohort = Cohort(
            tenant.learner,
            tenant.stacks[tenant.place],
            assignment.objective,
            self._device,
            precision=assignment.precision,
            techniques=self._techniques,
            trial=assignment.number,
        )
        if state is not None:
            _restore(cohort, state)
        try:
            self._turns.add(cohort, tenant.task, alone=assignment.alone is not None)
        except JoinError as error:
            self._turns.leave(assignment.number)
            raise _shared(error.__cause__ or error) from error.__cause__


def open_engine(cpu: float, precision: Precision) -> StackedEngine:
    """The engine of this process's device."""
    return StackedEngine(prepare(cpu, precision))


def _shared(error: BaseException) -> BesideOthersError:
    """What several trials have raised together."""
    shared = BesideOthersError(f"{type(error).__name__}: {error}")
    shared.__cause__ = error
    return shared


def _restore(cohort: Cohort, state: dict[str, Any]) -> None:
    try:
        cohort.restore(state)
    except (LookupError, TypeError, ValueError) as error:  # a RuntimeError is the device's
        raise UnusableStateError(f"{type(error).__name__}: {error}") from error


def _stacks(learner: Learner, assignment: Assignment) -> list[list[Run]]:
    """The trial's runs, those that can share a stack together."""
    stacks: dict[Hashable, list[Run]] = {}
    for operation in assignment.task.operations:
        for replicate in assignment.replicates:
            run = Run(operation, replicate, assignment.settings, seeds_of(replicate))
            stacks.setdefault(learner.alike(run), []).append(run)
    return list(stacks.values())
