"""What every tracker does, on whatever a sweep can come to."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.folder.layout import SweepFolder
from sweeper.trackers import dispatch
from sweeper.trackers.dispatch import NEEDS
from tests.fakes.tracked import trial

STAGES = tuple((step, 32 + step) for step in range(2000))
TRIALS = [
    trial(0),
    trial(1, columns={}, state="failed"),
    replace(trial(2), phase="baseline", name="a.b-c_d", configuration={"batch.stages": STAGES, "depth": 2}),
    replace(trial(3), phase="confirm", name="2", outcome={}),
    replace(trial(123_456), configuration={}),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_whatever_a_trial_came_to_is_taken_and_stays_beside_the_sweep(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard" if name == "tensorboard" else NEEDS[name], reason=f"{name} is not installed")
    for setting in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(setting, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(dispatch, "_CLOSE_SECONDS", 100.0)  # of a new database of MLflow's on a busy machine
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    said: list[str] = []
    folder = SweepFolder(tmp_path / "results" / "made-up")
    with dispatch.running([name], "made-up", folder, said.append) as trackers:
        for each in TRIALS:
            trackers.put(each)
    assert said == []
    assert capfd.readouterr() == ("", "")
    assert list(Path().iterdir()) == []
    assert [path.name for path in (tmp_path / "results").iterdir()] == [name]
    assert [path for path in (tmp_path / "results" / name).rglob("*") if path.is_file()] != []
