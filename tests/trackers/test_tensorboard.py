"""TensorBoard's files, read back by TensorBoard."""

from pathlib import Path

import pytest

from sweeper.trackers.protocol import Destination
from tests.fakes.packages import needs
from tests.fakes.tracked import CONFIGURATION, FINISHED, OUTCOME, POINTS, trial

pytestmark = [pytest.mark.slow, needs("tensorboard")]


def test_a_trial_is_read_back_with_its_curves_outcome_and_hyperparameters(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator as accumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    from sweeper.trackers.tensorboard import open_tracker

    tracker = open_tracker(Destination("made-up", tmp_path / "tensorboard"))
    for number in (7, 8):
        tracker.track(trial(number))
    tracker.close()
    assert sorted(path.name for path in (tmp_path / "tensorboard" / "made-up").iterdir()) == [
        "trial-00007",
        "trial-00008",
    ]
    found = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "made-up" / "trial-00007"))
    found.Reload()
    for replicate in (0, 1):
        tag = f"val_accuracy/x_plus_y/{replicate}"
        expected = [(step, values[tag]) for step, values in POINTS.items() if tag in values]
        assert [(each.step, each.value) for each in found.Scalars(tag)] == expected
        assert {each.wall_time for each in found.Scalars(tag)} == {FINISHED.timestamp()}
    assert {name: found.Scalars(name)[0].value for name in OUTCOME} == OUTCOME
    raw = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(raw).session_start_info
    read = {key: getattr(value, value.WhichOneof("kind")) for key, value in session.hparams.items()}
    about = {"phase": "search", "name": "", "state": "finished"}
    assert read == {**CONFIGURATION, "betas": "(0.9, 0.98)", **about}
