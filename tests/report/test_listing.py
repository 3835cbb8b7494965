"""The list of sweeps."""

from io import StringIO

import pytest
from rich.console import Console

from sweeper.report import listing
from sweeper.sweep import resume
from tests.fakes.sweeps import Sweep, train
from tests.fakes.training import fails, learns


@pytest.mark.slow
def test_every_sweep_is_listed_with_its_best_the_newest_first(made_up_sweep: Sweep, sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    sweep.launch(train)
    unbegun = Sweep(sweep.root / "unbegun")
    unbegun.root.mkdir()
    unbegun.open()
    with resume.locked(unbegun.folder):
        entries = listing.list_sweeps(
            {
                name: str(each.folder.root)
                for name, each in (("old", made_up_sweep), ("unbegun", unbegun), ("new", sweep))
            }
        )
    assert [(each.sweep, each.running, each.trials, each.budget, each.confirmed, each.failed) for each in entries] == [
        ("new", False, 2, 2, 0, 0),
        ("old", False, 6, 6, 3, 1),
        ("unbegun", True, 0, 12, 0, 0),
    ]
    assert [(each.best, each.mean, each.reached) for each in entries] == [
        (0, 25.0, "2/2"),
        (1, 25.0, "2/2"),
        (None, None, ""),
    ]
    console = Console(width=120, file=StringIO())
    console.print(listing.render(entries))
    assert isinstance(console.file, StringIO)
    first, *lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert first == [
        "sweep",
        "state",
        "trials",
        "confirmed",
        "failed",
        "best",
        "mean",
        "reached",
        "until",
        "last",
        "trial",
    ]
    assert lines[1][:8] == ["old", "6/6", "3", "1", "1", "25", "steps", "2/2"]
    assert lines[2] == ["unbegun", "running", "0/12", "val_accuracy", ">", "0.99"]


def test_a_crash_is_no_time_and_a_bound_is_shown_as_one(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    sweep.launch(lambda assignment: (fails if assignment.number == 0 else learns(lambda *_: None))(assignment))
    (entry,) = listing.list_sweeps({"one": str(sweep.folder.root)})
    assert (entry.best, entry.mean, entry.reached, entry.censored, entry.failed) == (1, 100.0, "0/2", True, 1)
    console = Console(width=120, file=StringIO())
    console.print(listing.render([entry]))
    assert isinstance(console.file, StringIO)
    assert "≥ 100 steps" in console.file.getvalue()


def test_a_damaged_sweep_is_listed_with_its_damage_and_hides_no_other(made_up_sweep: Sweep, sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 2}}
    sweep.launch(train)
    part = sweep.folder.table("trials") / "part-00000.parquet"
    part.write_bytes(b"nothing")
    entries = listing.list_sweeps({"bad": str(sweep.folder.root), "good": str(made_up_sweep.folder.root)})
    assert [(each.sweep, each.trials, each.damage.startswith(f"{part}: damaged")) for each in entries] == [
        ("good", 6, False),
        ("bad", 0, True),
    ]
