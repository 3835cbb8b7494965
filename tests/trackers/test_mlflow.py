"""MLflow's database, read back by MLflow."""

from pathlib import Path

import pytest

from sweeper.trackers.protocol import Destination
from tests.fakes.packages import needs
from tests.fakes.tracked import CONFIGURATION, FINISHED, OUTCOME, POINTS, STARTED, trial

# Alembic, SQLAlchemy and MLflow deprecate each other.
pytestmark = [pytest.mark.filterwarnings("ignore"), needs("mlflow")]


@pytest.mark.slow
def test_a_trial_is_read_back_with_its_curves_outcome_and_hyperparameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient

    from sweeper.trackers.mlflow import open_tracker

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    place = Destination("made-up", tmp_path / "results" / "mlflow")
    for number, state in ((7, "finished"), (8, "failed")):  # the second by a launch that goes on
        tracker = open_tracker(place)
        tracker.track(trial(number, state=state))
        tracker.close()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "results/mlflow/mlflow.db"
    ]
    assert capfd.readouterr() == ("", "")

    client = MlflowClient(f"sqlite:///{place.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("made-up")
    second, first = client.search_runs([experiment.experiment_id], order_by=["attributes.run_name DESC"])
    assert [(each.info.run_name, each.info.status) for each in (first, second)] == [
        ("trial-00007", "FINISHED"),
        ("trial-00008", "FAILED"),
    ]
    assert (first.info.start_time, first.info.end_time) == (
        STARTED.timestamp() * 1000,
        FINISHED.timestamp() * 1000,
    )
    assert first.data.params == {key: str(value) for key, value in CONFIGURATION.items()}
    tags = {key: value for key, value in first.data.tags.items() if not key.startswith("mlflow.")}
    assert tags == {"phase": "search", "name": "", "state": "finished", "trial": "7"}
    assert {name: first.data.metrics[name] for name in OUTCOME} == OUTCOME
    for replicate in (0, 1):
        tag = f"val_accuracy/x_plus_y/{replicate}"
        found = [(each.step, each.value) for each in client.get_metric_history(first.info.run_id, tag)]
        assert found == [(step, values[tag]) for step, values in POINTS.items() if tag in values]
