"""Offline runs of Weights & Biases, read back as its own records."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.trackers.protocol import Destination
from tests.fakes.packages import needs
from tests.fakes.tracked import CONFIGURATION, OUTCOME, POINTS, trial

pytestmark = needs("wandb")
_HEADER, _BLOCK = 7, 32 * 1024
_WHOLE, _LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """The records of an offline run: LevelDB's log format, around wandb's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, content = path.read_bytes(), _HEADER, b""
    while at + 7 <= len(data):
        if _BLOCK - at % _BLOCK < 7:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        content += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (_WHOLE, _LAST):
            yield Record.FromString(content)
            content = b""


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a key."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("nobody")
def test_a_trial_is_read_back_with_its_curves_outcome_and_hyperparameters(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sweeper.trackers.wandb import open_tracker

    tracker = open_tracker(Destination("made-up", tmp_path / "results" / "wandb"))
    for number in (7, 8):
        tracker.track(trial(number))
    tracker.close()
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    files = sorted((tmp_path / "results" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    found = {
        run.run.display_name: list(records(path)) for path in files for run in records(path) if run.HasField("run")
    }
    assert sorted(found) == ["trial-00007", "trial-00008"]

    (run,) = [each.run for each in found["trial-00007"] if each.HasField("run")]
    assert (run.project, run.run_group, run.job_type) == ("sweeper", "made-up", "search")
    config = {each.key: json.loads(each.value_json) for each in run.config.update if each.key != "_wandb"}
    assert config == {"trial": 7, "name": "", **CONFIGURATION, "betas": [0.9, 0.98]}
    points = {}
    for each in found["trial-00007"]:
        if each.HasField("history"):
            values = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in each.history.item}
            points[each.history.step.num] = {k: v for k, v in values.items() if k.startswith("val_accuracy")}
    assert points == POINTS
    summary = {
        item.key or item.nested_key[0]: json.loads(item.value_json)
        for each in found["trial-00007"]
        for item in each.summary.update
    }
    assert {name: summary[name] for name in (*OUTCOME, "state")} == {**OUTCOME, "state": "finished"}
    metadata = [each for path in files for each in (path.parent / "files").iterdir()]
    assert metadata == []


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("netrc", "environment", "known"),
    [
        ("", {}, False),
        ("", {"WANDB_API_KEY": "a key"}, True),
        ("machine api.wandb.ai login user password secret", {}, True),
        ("machine api.wandb.ai login user password secret", {"WANDB_BASE_URL": "https://wandb.example"}, False),
        ("machine wandb.example login user password secret", {"WANDB_BASE_URL": "https://wandb.example"}, True),
        ("damaged", {}, False),
    ],
)
def test_without_a_key_runs_are_kept_offline_and_nobody_is_asked_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, netrc: str, environment: dict[str, str], known: bool
) -> None:
    from sweeper.trackers import wandb

    (tmp_path / "netrc").write_text(netrc)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wandb._has_key() is known
