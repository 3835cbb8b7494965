"""The list of sweeps."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

from rich.console import Console

from sweeper.monitor import listing
from sweeper.sweep import resume
from tests.fakes.heartbeats import BEAT, beats
from tests.fakes.sweeps import Sweep, made_up, train
from tests.fakes.training import diverges, fails, learns


def sweep_in(root: Path, **changes: object) -> Sweep:
    root.mkdir()
    return Sweep(root, changes)


def printed(entries: list[listing.Entry], width: int) -> list[list[str]]:
    """The words of each line; no name is cut off."""
    console = Console(width=width, file=StringIO())
    console.print(listing.render(entries))
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in console.file.getvalue()
    return [line.split() for line in lines]


def test_every_sweep_is_listed_with_its_state_and_its_best_the_newest_first(tmp_path: Path) -> None:
    old = made_up(tmp_path)
    new = sweep_in(tmp_path / "new", budget={"trials": 3})
    new.launch(train)
    beats(new.folder, ended="stopped: Ctrl-C")
    unbegun = sweep_in(tmp_path / "unbegun")
    unbegun.open()
    with resume.locked(unbegun.folder):
        sweeps = (("old", old), ("unbegun", unbegun), ("new", new))
        entries = listing.list_sweeps({name: str(each.folder.root) for name, each in sweeps})
    assert [(each.sweep, each.state, each.trials, each.budget, each.confirmed, each.failed) for each in entries] == [
        ("new", "finished", 3, 3, 0, 0),
        ("old", "finished", 6, 6, 3, 1),
        ("unbegun", "running", 0, 12, 0, 0),
    ]
    assert [(each.best, each.mean, each.reached) for each in entries] == [
        (0, 25.0, "2/2"),
        (1, 25.0, "2/2"),
        (None, None, ""),
    ]
    heading, *lines = printed(entries, 160)
    assert " ".join(heading) == "sweep state trials confirmed failed best mean reached until last trial"
    assert lines[1][:9] == ["old", "finished", "6/6", "3", "1", "trial", "1", "25", "steps"]
    assert lines[2] == ["unbegun", "running", "0/12", "val_accuracy", ">", "0.99"]
    narrow = [" ".join(line) for line in printed(entries, 80)]
    assert narrow[0] == "sweep state trials confirmed failed best mean reached"
    assert narrow[3] == "unbegun running 0/12"
    assert "until val_accuracy > 0.99, by last trial: new (" in narrow[4]
    assert narrow[-1].endswith("unbegun (nothing yet)")
    long = [replace(entries[1], sweep="a-sweep-with-a-name-of-33-letters")]
    narrow = [" ".join(line) for line in printed(long, 60)]
    assert narrow[:3] == [
        "sweep state trials best mean",
        "a-sweep-with-a-name- finished 6/6 trial 1 25 steps",
        "of-33-letters",
    ]
    assert narrow[-1] == "no room here for: confirmed, reached, failed"


def test_where_no_run_arrived_none_is_the_best_and_a_crash_has_no_time(tmp_path: Path) -> None:
    for name, how in (("nobody", learns(lambda *_: None)), ("crashed", fails), ("diverged", diverges)):
        sweep = sweep_in(tmp_path / name, budget={"trials": 2})
        sweep.launch(how)
        (entry,) = listing.list_sweeps({name: str(sweep.folder.root)})
        assert (entry.best, entry.mean, entry.trials, entry.state) == (None, None, 2, "finished")
        assert " ".join(printed([entry], 80)[0]).startswith(
            "sweep state trials " + "failed " * (how is fails) + "until"
        )


def test_a_mean_over_censored_runs_has_its_sign(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path / "some", budget={"trials": 1})
    sweep.launch(learns(lambda _, replicate: 40 if replicate else None))
    entries = listing.list_sweeps({"some": str(sweep.folder.root)})
    assert printed(entries, 100)[1][5:9] == ["≥", "70", "steps", "1/2"]


def test_states(tmp_path: Path) -> None:
    sweep = sweep_in(tmp_path / "begun", budget={"trials": 3})
    sweep.open()

    def state() -> str:
        return listing.list_sweeps({"begun": str(sweep.folder.root)})[0].state

    assert state() == "not finished"
    beats(sweep.folder, ended="stopped: Ctrl-C")
    assert state() == "stopped"
    beats(sweep.folder, ended="failed: disk full")
    assert state() == "failed"
    beats(sweep.folder)
    assert state() == "running"
    beats(sweep.folder, at=BEAT.at)
    assert state() == "dead"
    sweep.folder.status.write_text("damaged")
    assert state() == "not finished"
