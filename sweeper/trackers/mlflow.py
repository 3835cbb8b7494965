"""MLflow: one experiment per sweep, one run per trial; in SQLite beside the sweep, or at MLFLOW_TRACKING_URI."""

import logging
import os
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow.entities import Metric, Param, RunTag  # MLflow reads its settings when it is imported
from mlflow.tracking import MlflowClient

from sweeper.trackers.protocol import Destination, FinishedTrial

URI = "MLFLOW_TRACKING_URI"
_PER_REQUEST = 1000
"""Metrics per request; servers refuse more."""


def open_tracker(place: Destination) -> "Mlflow":
    """Write to the server or database named by the environment; by default to mlflow.db in the place's folder."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return Mlflow(place)


class Mlflow:
    """See `Tracker`."""

    def __init__(self, place: Destination):
        uri, artifacts = os.environ.get(URI), None
        if not uri:
            uri = _database(place.folder.resolve())
            artifacts = (place.folder.resolve() / "artifacts").as_uri()
        self._client = MlflowClient(uri)
        found = self._client.get_experiment_by_name(place.sweep)
        self._experiment = found.experiment_id if found else self._client.create_experiment(place.sweep, artifacts)

    def track(self, trial: FinishedTrial) -> None:
        """See `Tracker`."""
        started, finished = (round(at.timestamp() * 1000) for at in (trial.started, trial.finished))
        run = self._client.create_run(self._experiment, started, run_name=trial.title).info.run_id
        about = {"phase": trial.phase, "name": trial.name, "state": trial.state, "trial": str(trial.number)}
        tags = [RunTag(key, value) for key, value in about.items()]
        parameters = [Param(key, str(value)) for key, value in trial.configuration.items()]
        outcome = [Metric(name, value, finished, 0) for name, value in trial.outcome.items()]
        self._client.log_batch(run, outcome, parameters, tags)
        points = [Metric(tag, value, finished, step) for step, at in trial.points() for tag, value in at.items()]
        for first in range(0, len(points), _PER_REQUEST):
            self._client.log_batch(run, points[first : first + _PER_REQUEST])
        self._client.set_terminated(run, "FAILED" if trial.state == "failed" else "FINISHED", finished)

    def close(self) -> None:
        """See `Tracker`."""


def _database(folder: Path) -> str:
    """The URI of the database in a folder. Creating it takes seconds, and an unfinished one would never be usable."""
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / "mlflow.db", folder / f".mlflow-{os.getpid()}.partial"
    if not path.exists():
        MlflowClient(f"sqlite:///{partial}").search_experiments()
        with suppress(FileExistsError):  # another sweep's tracker was faster
            os.link(partial, path)
        partial.unlink()
    return f"sqlite:///{path}"
