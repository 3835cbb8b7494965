"""Ray Tune's view of a sweep: a trainable, a searcher and a scheduler, all of them thin adapters to one `Director`.

Tune turns an exception of a searcher or a scheduler into a failed trial; so the first exception is kept here and raised
again when the run is over.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import progress_reporter, schedulers, search

from sweeper.runners.capacity import Capacity
from sweeper.runners.lost_workers import LostWorkerError
from sweeper.runners.protocol import WAIT, Director, Wait, ending_of
from sweeper.stats.events import DEVICE_FAILED, ERROR, FINISHED, HOST_MEMORY, NODE_LOST, WORKER_KILLED, Ending
from sweeper.trial import Assignment, Chunk, Train

_RAYS_EXIT = "ray_terminate_msg"
"""An attribute of the SystemExit that Ray raises in a worker that gets SIGTERM, as from `scancel`."""
_REMEMBERED = 50
"""Trials that Tune may hold before those that ended are removed."""


class TrialActor(tune.Trainable):
    """One trial in a worker process: each `step` is one chunk. Actors are reused from trial to trial."""

    def setup(self, config: dict[str, Any], train: Train) -> None:  # type: ignore[override]  # with_parameters adds it
        """Take the first trial of this actor."""
        self._train = train
        self._chunks: Iterator[Chunk] | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial: Tune reuses the actor."""
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Close the training function's generator, which ends its work in other processes."""
        self._chunks = None

    def _begin(self, config: dict[str, Any]) -> None:
        self._chunks = None
        self._text, self._state = config["assignment"], config["state"]

    def step(self) -> dict[str, Any]:
        """Train for one chunk. An exception of the training function is the trial's outcome."""
        try:
            if self._chunks is None:
                state = None if self._state is None else ray.get(self._state)
                self._chunks = self._train(replace(Assignment.from_json(self._text), state=state))
            chunk = next(self._chunks, None)
        except (Exception, SystemExit) as error:  # of the user's code or torch: an outcome
            if hasattr(error, _RAYS_EXIT):
                raise  # Tune then sees a worker that was killed
            ending = ending_of(error)
            if ending.why == DEVICE_FAILED:
                raise BrokenWorkerError(ending.detail) from None
            return {"ending": ending, "done": True}
        if chunk is None:
            return {"ending": FINISHED, "done": True}
        return {"chunk": chunk, "ending": FINISHED, "done": True} if chunk.last else {"chunk": chunk}


class BrokenWorkerError(Exception):
    """The process cannot train any more: Tune must not use its actor again."""


class Adapter:
    """Passes Tune's calls to the director; keeps the first exception, because Tune would make a failed trial of it.

    Args:
        director: see `Director`.
        capacity: how many trials fit.
        begun: is called whenever Tune's loop runs.
        check: raises LostRay once Ray is lost; the director is then called no more, least of all for lost trials.
    """

    def __init__(
        self,
        director: Director,
        capacity: Capacity,
        begun: Callable[[], object] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ):
        self._director, self._capacity, self._begun, self._check = director, capacity, begun, check
        self.error: BaseException | None = None
        self.controller: Any = None
        self.assigned: dict[str, int] = {}
        self._shares: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher when the Tuner is made; the director stays in this process

    def guarded(self, call: Callable[[], Any], otherwise: Any) -> Any:
        """The result of the call; `otherwise` after the first exception."""
        self._check()
        if self.error is not None:
            return otherwise
        try:
            return call()
        except Exception as error:  # noqa: BLE001  # raised again by `run`
            self.error = error
            return otherwise

    def next_trial(self, trial_id: str) -> dict[str, Any] | Wait | None:
        """See `Director`; the trial as Tune's configuration: its assignment and its share of a GPU."""
        self._begun()
        if not self.assigned:
            self.tick()  # without a free slot, Tune may call this for minutes without a round of its loop
        if len(self.assigned) >= self._capacity.slots and self.error is None and not self._director.stopping:
            return WAIT
        assignment = self.guarded(self._director.next_trial, None)
        if not isinstance(assignment, Assignment):
            return WAIT if assignment == WAIT else None
        self.assigned[trial_id] = assignment.number
        self._shares[trial_id] = self._capacity.gpu
        state = None if assignment.state is None else ray.put(assignment.state)
        return {"assignment": assignment.to_json(), "state": state, "gpu": self._capacity.gpu}

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        """See `Director`; stops the trial after the first exception."""
        ending: Ending | None = self.guarded(lambda: self._director.report(number, chunk), Ending("stopped"))
        return ending

    def end(self, trial_id: str, ending: Ending) -> None:
        """Report once how a trial ended: Tune calls several hooks for one ending."""
        number = self.assigned.pop(trial_id, None)
        if number is None:
            return
        share = self._shares.pop(trial_id)
        if self._capacity.grant_more_memory(share, ending):
            why = f"out of memory with {share:g} GPU; it and those after it get {self._capacity.gpu:g}"
            self.guarded(lambda: self._director.requeue(number, why), None)
        else:
            self.guarded(lambda: self._director.end(number, ending), None)

    def tick(self) -> None:
        """See `Director`."""
        self.guarded(self._director.tick, None)

    def forget(self, trials: list[Any]) -> None:
        """Remove trials that have ended: Tune keeps 30 kB of each, and looks through all of them in every round.

        Args:
            trials: Tune's own list; the last one stays, because Tune checks that there was one.
        """
        if len(trials) < _REMEMBERED or self.controller is None:
            return
        busy = getattr(self.controller, "_trial_to_actor", {})
        over = {each for each in trials[:-1] if each.is_finished() and each not in busy}
        trials[:] = [each for each in trials if each not in over]
        for name in ("_stopped_trials", "_failed_trials", "_trials_to_cache"):
            getattr(self.controller, name, set()).difference_update(over)


class Searcher(search.Searcher):
    """Gets trials from the director."""

    def __init__(self, adapter: Adapter):
        super().__init__()
        self._adapter = adapter

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a str
        """The next trial of the director."""
        config = self._adapter.next_trial(trial_id)
        if config is None:
            return search.Searcher.FINISHED
        return None if config == WAIT else config

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the scheduler is called first."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study holds the trials."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: every launch is a fresh Tuner."""


class Scheduler(schedulers.FIFOScheduler):
    """Passes chunks to the director and stops the trials that it ends."""

    def __init__(self, adapter: Adapter):
        super().__init__()  # type: ignore[no-untyped-call]  # ray
        self._adapter = adapter

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Keep the controller, for `Adapter.forget`."""
        self._adapter.controller = tune_controller

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Pass a chunk to the director; stop the trial if the director ends it."""
        number = self._adapter.assigned.get(trial.trial_id)
        if number is None:
            return str(self.STOP)
        trial.config["state"] = None  # it has arrived and need not be held
        ending = self._adapter.report(number, result.pop("chunk"))
        if ending is None:
            return str(self.CONTINUE)
        self._adapter.end(trial.trial_id, ending)
        return str(self.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial's last result carries its ending, perhaps beside its last chunk."""
        if "ending" not in result:
            return
        ending = None
        if "chunk" in result and trial.trial_id in self._adapter.assigned:
            ending = self._adapter.report(self._adapter.assigned[trial.trial_id], result.pop("chunk"))
        self._adapter.end(trial.trial_id, ending or result["ending"])

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A worker failed outside the training function."""
        self._adapter.end(trial.trial_id, _loss(trial))


class Clock(progress_reporter.TrialProgressCallback):
    """Calls `tick` in every round of Tune's loop.

    It takes the place of Tune's own reporter, which prints nothing at our verbosity and holds every trial.
    """

    def __init__(self, adapter: Adapter):
        self._adapter = adapter

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Nothing: the scheduler does it."""

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing: the scheduler does it."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Nothing: the scheduler does it."""

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """One round of Tune's loop is over."""
        self._adapter.tick()
        self._adapter.forget(trials)


def _loss(trial: Any) -> Ending:
    """The ending of a trial whose worker failed outside the training function."""
    if not trial.pickled_error_file:
        return Ending("failed", ERROR, Path(trial.error_file).read_text() if trial.error_file else "")
    error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return Ending("failed", cause_of(error), str(error))


def cause_of(error: Exception) -> str:
    """The cause, of those in `sweeper.sweep.retries`, that an error of Tune's stands for."""
    reason = error.cause if isinstance(error, LostWorkerError) else error
    if isinstance(reason, BrokenWorkerError):
        return DEVICE_FAILED
    if isinstance(reason, ray.exceptions.OutOfMemoryError):
        return HOST_MEMORY
    if not isinstance(reason, ray.exceptions.RayError) or isinstance(reason, ray.exceptions.RayTaskError):
        return ERROR
    if getattr(reason, "actor_init_failed", False):  # our own `setup` raised, at an import for example
        return ERROR
    # The connection closed, and the node, which reports a dead process within a second, reported none.
    if isinstance(reason, ray.exceptions.ActorUnavailableError):
        return NODE_LOST
    # Only the text of Ray's error distinguishes the two.
    return NODE_LOST if "node has died" in str(reason) or "preempted" in str(reason) else WORKER_KILLED
