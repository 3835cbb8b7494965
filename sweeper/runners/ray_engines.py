"""One engine process on each GPU: the trials that Ray places there train in it together.

Ray Tune schedules every trial with its share as before, but a trial's worker only relays its chunks. The first trial on
a device has an engine started by a registry that the sweep owns: engines end with the registry, and the registry with
the sweep, however that ends. If a worker is lost, its trial is removed after its chunks have not been fetched for a
while; if an engine is lost, its trials continue from their checkpoints in the next one. If memory runs out with several
trials, the engine holds half as many from then on, and the others wait. A trial that needs a process of its own trains
in its worker.
"""

import asyncio
import math
import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.runners.protocol import EndedError, ending_of
from sweeper.runners.tune_adapters import cause_of
from sweeper.stats.events import CROWDED, DEVICE_FAILED, FINISHED, OUT_OF_MEMORY, WORKER_KILLED, Ending
from sweeper.trial import Assignment, Chunk, Engine, OpenEngine, Train

_FETCH_SECONDS = 5.0
"""How long a worker waits for a chunk before it requests it again."""
_SILENCE_SECONDS = 300.0
"""A trial is removed after its chunks have not been fetched for so long."""
_LAST_SECONDS = 10.0
"""After which a process whose device has failed ends, if nobody has ended it."""
_LOST = (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError)
"""Errors of calls to an engine that is gone."""
_Wanted = tuple[str, bytes | None]
"""A trial that is to train: its assignment as text, and its state."""


@contextmanager
def serving(open_engine: OpenEngine, alone: Train) -> Iterator[Train]:
    """Within the block, a training function for Ray's workers that trains on the engine of the worker's device.

    Args:
        open_engine: makes the engine.
        alone: trains those that need a process of their own.
    """
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    registry: Any = ray.remote(Registry).options(**options).remote(open_engine)
    try:
        yield partial(train, registry, alone)
    finally:
        ray.kill(registry)


def train(registry: Any, alone: Train, assignment: Assignment) -> Iterator[Chunk]:
    """Train a trial on the engine of the device that Ray gave this worker.

    Raises:
        EndedError: the trial ended in another way than by being over.
    """
    if assignment.alone == "process":
        yield from alone(assignment)
        return
    node, gpus = ray.get_runtime_context().get_node_id(), ray.get_gpu_ids()
    gpu = str(gpus[0]) if gpus else ""
    host = ray.get(registry.host.remote(node, gpu))
    try:
        yield from _chunks(host, assignment)
    except _LOST as error:
        ray.get(registry.forget.remote(node, gpu, host))
        raise EndedError(Ending("failed", cause_of(error), str(error))) from None
    except EndedError as ended:
        if ended.ending.why == DEVICE_FAILED:  # no trial can go on in that process
            ray.get(registry.forget.remote(node, gpu, host))
        raise


def _chunks(host: Any, assignment: Assignment) -> Iterator[Chunk]:
    state = None if assignment.state is None else ray.put(assignment.state)
    ticket = ray.get(host.admit.remote(assignment.to_json(), state))
    try:
        while True:
            event: Chunk | Ending | None = ray.get(host.fetch.remote(ticket))
            if isinstance(event, Chunk):
                yield event
            elif event is not None and event != FINISHED:
                raise EndedError(event)
            if event == FINISHED or (isinstance(event, Chunk) and event.last):
                return
    finally:
        host.remove.remote(ticket)


class Registry:
    """The actor that starts engines: one on each device, for whichever trial is placed there first."""

    def __init__(self, open_engine: OpenEngine):
        self._open = open_engine
        self._hosts: dict[tuple[str, str], Any] = {}

    def host(self, node: str, gpu: str) -> Any:
        """The engine of a device."""
        if (node, gpu) not in self._hosts:
            here = NodeAffinitySchedulingStrategy(node, soft=False)
            options = {"num_cpus": 0, "scheduling_strategy": here, "max_concurrency": 10_000}
            self._hosts[node, gpu] = ray.remote(Host).options(**options).remote(self._open, gpu)
        return self._hosts[node, gpu]

    def forget(self, node: str, gpu: str, host: Any) -> None:
        """End an engine that is lost or broken, unless another has taken its place already."""
        found = self._hosts.get((node, gpu))
        if found is not None and found == host:
            ray.kill(self._hosts.pop((node, gpu)))


class Host:
    """The actor around an engine, which trains in a thread of its own; tickets are the numbers of its trials."""

    def __init__(self, open_engine: OpenEngine, gpu: str):
        # Ray hides all GPUs from an actor that reserves none; the trials reserve this one.
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        self._open = open_engine
        self._tickets = count()
        self._commands: queue.SimpleQueue[tuple[int, _Wanted | None]] = queue.SimpleQueue()
        self._engine: Engine | None = None
        self._waiting: dict[int, _Wanted] = {}
        self._most = math.inf
        self._events: dict[int, asyncio.Queue[Chunk | Ending]] = {}
        self._fetched: dict[int, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def admit(self, text: str, state: bytes | None) -> int:
        """Let a trial train. Returns its ticket; that it cannot is the first thing to fetch."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            threading.Thread(target=self._run, daemon=True).start()
        ticket = next(self._tickets)
        self._events[ticket], self._fetched[ticket] = asyncio.Queue(), time.monotonic()
        self._commands.put((ticket, (text, state)))
        return ticket

    async def fetch(self, ticket: int) -> Chunk | Ending | None:
        """The next chunk of a trial, or how it ended; None if there is nothing yet."""
        self._fetched[ticket] = time.monotonic()
        try:
            return await asyncio.wait_for(self._events[ticket].get(), _FETCH_SECONDS)
        except TimeoutError:
            return None

    async def remove(self, ticket: int) -> None:
        """Let a trial go."""
        self._events.pop(ticket, None)
        self._fetched.pop(ticket, None)
        self._commands.put((ticket, None))

    def _run(self) -> None:
        """Train all admitted trials, forever. If this thread ends, the process must end too: nothing would train."""
        try:
            while True:
                while not self._commands.empty() or not self._training:
                    self._carry_out(*self._commands.get())
                    self._begin()
                self._train()
                self._begin()
        finally:
            os._exit(1)

    @property
    def _training(self) -> int:
        """How many trials are in the engine."""
        return 0 if self._engine is None else len(self._engine)

    def _carry_out(self, ticket: int, wanted: _Wanted | None) -> None:
        """Queue a trial, or remove it."""
        if wanted is not None:
            self._waiting[ticket] = wanted
        elif self._waiting.pop(ticket, None) is None and self._engine is not None:
            self._engine.remove(ticket)

    def _begin(self) -> None:
        """Admit queued trials, as many as memory suffices for."""
        while self._waiting and self._training < self._most:
            ticket, beside = next(iter(self._waiting)), self._training
            text, state = self._waiting.pop(ticket)
            try:
                assignment = replace(Assignment.from_json(text), number=ticket, state=state)
                self._engine = self._engine or self._open(assignment.cpu, assignment.precision)
                self._engine.admit(assignment)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # of the user's code or torch: an outcome
                self._end(ticket, error, beside)

    def _train(self) -> None:
        """Let the engine train for a moment."""
        assert self._engine is not None, "it trains"
        beside = self._training - 1
        for ticket, event in self._engine.step():
            if isinstance(event, BaseException):
                self._end(ticket, event, beside)
            else:
                self._emit(ticket, FINISHED if event is None else event)
        for ticket, fetched in list(self._fetched.items()):
            if time.monotonic() - fetched > _SILENCE_SECONDS:
                del self._fetched[ticket]
                self._engine.remove(ticket)
                self._emit(ticket, Ending("failed", WORKER_KILLED, "nobody fetched its chunks"))

    def _end(self, ticket: int, error: BaseException, beside: int) -> None:
        """Report how a trial ended that raised an exception, with so many others in the engine."""
        ending = ending_of(error)
        if ending.why == OUT_OF_MEMORY and beside:
            ending = replace(ending, why=CROWDED)
            self._most = max(min(self._most, (beside + 1) // 2), 1)
        self._emit(ticket, ending)
        if ending.why == DEVICE_FAILED:
            # Its worker ends this process. To the others that is a lost engine: one device has failed, not several.
            time.sleep(_LAST_SECONDS)
            os._exit(1)

    def _emit(self, ticket: int, event: Chunk | Ending) -> None:
        def put() -> None:
            if ticket in self._events:
                self._events[ticket].put_nowait(event)

        assert self._loop is not None, "there is a ticket"
        self._loop.call_soon_threadsafe(put)
