"""What a launch finds in a sweep's folder: the same question, another one, other code, or a folder that was moved."""

import fcntl
import json
import shutil
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from sweeper.environment import provenance
from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.sweep.launch import launch, resume
from sweeper.sweep.options import LaunchOptions
from sweeper.sweep.resume import locked
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from tests.fakes import small

WAYS_OUT = (
    "undo that, give this sweep another name (--set name=...), or continue all the same with --accept-changes: "
    "finished trials stay as they are"
)


def quiet() -> Console:
    return Console(file=StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def trials(folder: SweepFolder) -> dict[int, dict[str, Any]]:
    rows = pq.read_table(folder.table("trials")).to_pylist()
    return {row["trial"]: row for row in rows}


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return small.write(tmp_path)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """A sweep of which two trials are finished."""
    space = small.write(tmp_path_factory.mktemp("half"))
    return launch(space, ["budget.trials=2"], LaunchOptions(where="here", console=quiet()))


@pytest.fixture
def begun(half: SweepFolder, space: Path) -> SweepFolder:
    """A copy of it, beside a space.yaml."""
    return SweepFolder(Path(shutil.copytree(half.root, space.parent / "results" / half.root.name)))


def test_a_changed_question_is_refused_key_by_key(space: Path, begun: SweepFolder) -> None:
    files = {path: path.read_bytes() for path in begun.root.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as raised:
        launch(
            space,
            ["objective.horizon=80", "fixed.feedforward=2", "search.heads={choice: [1, 2, 4]}", "stop=cap"],
            LaunchOptions(where="here", console=quiet()),
        )
    assert str(raised.value).splitlines() == [
        f"{space}: this is not what {begun.root} began with:",
        "  objective.horizon: began with 60, is now 80",
        "  search.heads.choice: began with [1, 2], is now [1, 2, 4]",
        '  stop: began with "none", is now "cap"',
        "  fixed.feedforward: began with nothing, is now 2",
        WAYS_OUT,
    ]
    assert {path: path.read_bytes() for path in begun.root.rglob("*") if path.is_file()} == files


@pytest.mark.slow
def test_changed_code_is_refused_file_by_file(space: Path, begun: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    now = provenance.code(ModularArithmetic)
    assert {"training/cohort.py", "training/ops/kernels.c", "trial.py", "torch"} <= now.keys()
    assert "cli.py" not in now
    changed = {name: each for name, each in now.items() if name != "trial.py"} | {"training/cohort.py": "f" * 12}
    monkeypatch.setattr(provenance, "code", lambda own: changed)
    with pytest.raises(UserError) as raised:
        launch(space, options=LaunchOptions(where="here", console=quiet()))
    first, *lines, last = str(raised.value).splitlines()
    assert (first, last) == (f"{space}: this is not what {begun.root} began with:", WAYS_OUT)
    assert sorted(lines) == [
        f'  code: training/cohort.py: began with "{now["training/cohort.py"]}", is now "ffffffffffff"',
        f'  code: trial.py: began with "{now["trial.py"]}", is now nothing',
    ]


@pytest.mark.slow
def test_a_sweep_of_the_older_layout_continues_with_one_sentence(space: Path, begun: SweepFolder) -> None:
    """Its provenance names files at the root of the package, as versions before 0.2.0 did."""
    (launched,) = json.loads(begun.provenance.read_text())
    old = (
        "training/cohort.py",
        "tasks/task.py",
        "trial.py",
        "seeds.py",
        "hyperparameters.py",
        "outcomes.py",
        "space.py",
    )
    code = dict.fromkeys(old, "0123456789ab") | {"torch": launched["code"]["torch"]}
    begun.provenance.write_text(json.dumps([launched | {"code": code}]))
    before, console = trials(begun), quiet()
    launch(space, [f"budget.trials={len(before) + 1}"], LaunchOptions(where="here", console=console))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.count("began with a version of sweeper whose files lay elsewhere") == 1
    assert "continuing although" not in said
    after = trials(begun)
    assert {number: after[number] for number in before} == before
    assert len(after) == len(before) + 1
    again = quiet()
    launch(space, [f"budget.trials={len(after)}"], LaunchOptions(where="here", console=again))
    assert "lay elsewhere" not in again.file.getvalue()  # type: ignore[attr-defined]

    begun.provenance.write_text(json.dumps([launched | {"code": code | {"torch": "0.0"}}]))
    with pytest.raises(UserError, match=r'code: torch: began with "0\.0"'):
        launch(space, options=LaunchOptions(where="here", console=quiet()))


def test_all_that_decides_an_outcome_or_a_value_lies_in_folders_that_are_hashed() -> None:
    hashed = provenance.code(ModularArithmetic).keys()
    assert {
        "stats/watch.py",
        "stats/trial_watch.py",
        "stats/objective.py",
        "stats/racing.py",
        "stats/capping.py",
    } <= hashed
    assert {name.split("/")[0] for name in hashed} == {"space", "stats", "tasks", "training", "trial.py", "torch"}


@pytest.mark.slow
def test_anyway_goes_on_with_another_space_and_says_so(space: Path, begun: SweepFolder) -> None:
    before, console = trials(begun), quiet()
    more = ["search.heads={choice: [4, 2, 1]}", "budget.trials=5", "fixed.warmup_steps=6"]
    launch(space, more, LaunchOptions(where="here", accept_changes=True, console=console))
    after = trials(begun)
    assert {number: after[number] for number in before} == before
    assert sorted(after) == list(range(5))
    assert 4 in {row["heads"] for row in after.values()}
    assert said(console).splitlines()[:2] == [
        "continuing although search.heads.choice: began with [1, 2], is now [4, 2, 1]",
        "continuing although fixed.warmup_steps: began with 5, is now 6",
    ]
    *_, last = json.loads(begun.provenance.read_text())
    assert [line.partition(":")[0] for line in last["changed"]] == ["search.heads.choice", "fixed.warmup_steps"]
    # From now on this is the question.
    launch(space, more, LaunchOptions(where="here", console=quiet()))


@pytest.mark.slow
def test_a_sweep_goes_on_where_its_folder_was_moved_to(
    tmp_path: Path, space: Path, begun: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trials(begun)
    space.unlink()
    moved = SweepFolder(tmp_path / "elsewhere" / "results" / "renamed")
    moved.root.parent.mkdir(parents=True)
    shutil.move(begun.root, moved.root)
    assert resume(str(moved.root), ["budget.trials=3"], LaunchOptions(where="here", console=quiet())) == moved
    monkeypatch.chdir(tmp_path / "elsewhere")
    changed = ["budget.trials=4", "fixed.warmup_steps=6"]
    with pytest.raises(UserError, match="continue all the same with --accept-changes"):
        resume("renamed", changed, LaunchOptions(where="here", console=quiet()))
    resume("renamed", changed, LaunchOptions(where="here", accept_changes=True, console=quiet()))
    after = trials(moved)
    assert sorted(after) == [0, 1, 2, 3]
    assert {number: after[number] for number in before} == before
    assert not begun.root.exists()


def test_what_cannot_be_resumed(tmp_path: Path, begun: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for nothing in ("nobody", "nobody/here", str(begun.root / "trials")):
        with pytest.raises(UserError, match="no sweep here; give the folder that `sweeper launch` named"):
            resume(nothing, options=LaunchOptions(where="here", console=quiet()))
    for damage in ("", "{", "[1]", "[" * 100_000):
        begun.provenance.write_text(damage)
        with pytest.raises(UserError, match=r"provenance\.json: damaged .*; move it away to continue without it"):
            resume("small", options=LaunchOptions(where="here", console=quiet()))
    begun.provenance.unlink()
    shutil.rmtree(begun.root / "checkpoints", ignore_errors=True)  # there if training was slow
    (begun.root / "checkpoints").symlink_to(tmp_path)
    with pytest.raises(UserError, match="checkpoints: a link; a sweep's folder has none"):
        resume("small", options=LaunchOptions(where="here", console=quiet()))


def test_somebody_who_only_looks_whether_it_runs_keeps_no_launch_away(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "sweep")
    with locked(folder):
        pass
    with open(folder.lock) as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        away = threading.Timer(0.15, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        away.start()
        with locked(folder), pytest.raises(UserError, match="another launch is running this sweep"), locked(folder):
            pass
        away.join()
