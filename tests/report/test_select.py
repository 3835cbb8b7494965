"""Which trial a name means."""

from pathlib import Path

import pytest

from sweeper.config import loading
from sweeper.errors import UserError
from sweeper.report.select import choose
from tests.fakes.sweeps import Sweep, train


@pytest.mark.parametrize(
    ("trial", "number", "label", "confirmation"),
    [("", 1, "trial 1", 6), (":3", 3, "trial 3", None), (":published", 0, "published", 8), (":6", 6, "trial 6", None)],
)
def test_a_sweep_means_its_best_trial_and_a_colon_another(
    trial: str, number: int, label: str, confirmation: int | None, made_up_sweep: Sweep
) -> None:
    chosen = choose(f"{made_up_sweep.folder.root}{trial}")
    again = chosen.confirmation
    assert (chosen.row["trial"], chosen.label, again and again["trial"]) == (number, label, confirmation)


@pytest.mark.parametrize(("called", "number"), [("3", 3), ("published", 0)])
def test_a_number_or_a_baseline_alone_is_of_the_other_ones_sweep(
    called: str, number: int, made_up_sweep: Sweep
) -> None:
    first = choose(str(made_up_sweep.folder.root))
    assert choose(called, among=first).row["trial"] == number


def test_a_trial_that_is_not_there_is_named_with_those_that_are(made_up_sweep: Sweep) -> None:
    root = made_up_sweep.folder.root
    with pytest.raises(UserError) as caught:
        choose(f"{root}:77")
    expected = f"{root}: no trial 77; it has 0, 1, 2, 3, 4, 5, 6, 7, 8, and the baselines published"
    assert str(caught.value) == expected


def test_a_sweep_without_trials_has_none_to_show(sweep: Sweep) -> None:

    sweep.open()
    with pytest.raises(UserError, match="no trial has finished yet"):
        choose(str(sweep.folder.root))


@pytest.mark.slow
def test_a_number_means_the_trial_even_where_a_baseline_of_an_old_sweep_is_called_so(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "ambiguous_names", lambda spec: [])  # as before there was this check
    sweep.changes = {"baselines": {"1": {"depth": 4}, "0": {"depth": 3}}, "budget": {"trials": 2}}
    sweep.launch(train)
    assert [choose(f"{sweep.folder.root}:{number}").row["trial"] for number in (0, 1)] == [0, 1]


def test_a_name_that_is_neither_a_sweep_nor_a_trial_is_refused_with_the_ways_to_name_one(
    made_up_sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "results").symlink_to(made_up_sweep.folder.root.parent)
    monkeypatch.chdir(tmp_path)
    name = made_up_sweep.folder.root.name
    first = choose(name)
    given = "give the folder that `sweeper launch` named, or its name"
    for called, among, message in (
        (f"{name}s", None, f"{name}s: no sweep here (did you mean {name!r}?); {given}"),
        (
            "23",
            None,
            f"23: no sweep here; {given}; in results: {name}; a trial is SWEEP:TRIAL, for example quickstart:23",
        ),
        (
            "unknown",
            first,
            f"unknown: no sweep here; {given}; in results: {name}; "
            f"in {name} a trial's number or a baseline's name (published) is enough",
        ),
    ):
        with pytest.raises(UserError) as caught:
            choose(called, among=among)
        assert str(caught.value) == message
