"""After which failures a trial is started again, and that it is written down everywhere."""

from pathlib import Path

import pytest

from sweeper.stats import events
from sweeper.stats.events import FINISHED, OUT_OF_MEMORY, Ending
from sweeper.sweep import retries
from sweeper.sweep.retries import DEAD_DEVICE, RETRIES, alone, is_retried

CAUSES = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str) and name[0] != "_"}
TIMES = {1: "", 2: "twice", 10: "ten times"}
PAGE = (Path(__file__).parents[2] / "docs" / "failures.md").read_text().split("## Exit codes")[0]


def table(text: str) -> dict[str, str]:
    """First cell -> last cell of every row."""
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {first.strip().strip("`"): last.strip() for first, *_, last in rows}


def test_the_causes_are_these() -> None:
    assert sorted(CAUSES) == [
        *("device failed", "error", "error beside others", "node lost", "out of host memory", "out of memory"),
        *("out of memory beside others", "unusable checkpoint", "worker killed"),
    ]
    assert RETRIES.keys() < CAUSES


@pytest.mark.parametrize("text", [retries.__doc__ or "", PAGE], ids=["retries.py", "failures.md"])
def test_every_cause_is_in_the_table(text: str) -> None:
    rows = table(text)
    assert rows.keys() >= CAUSES
    assert rows.keys() - CAUSES <= {"cause", "---", "a loss that is not finite", "disk full, or not writable"}
    started_again = {cause for cause in CAUSES if "again" in rows[cause] or "restarted" in rows[cause]}
    assert started_again == {*RETRIES, OUT_OF_MEMORY}


def test_the_page_says_how_often() -> None:
    rows = table(PAGE)
    for cause, times in RETRIES.items():
        assert TIMES[times] in rows[cause], cause
    assert "three in a row end the launch" in rows["device failed"]
    assert DEAD_DEVICE == 3


@pytest.mark.parametrize("cause", sorted(CAUSES))
def test_a_trial_is_started_again_as_often_as_the_table_says(cause: str) -> None:
    ending, others = Ending("failed", cause), sorted(CAUSES - {cause}) * 20
    allowed = RETRIES.get(cause, 0)
    decisions = [is_retried(ending, [cause] * times + others) for times in range(allowed + 3)]
    assert decisions == [True] * allowed + [False] * 3


@pytest.mark.parametrize(
    "ending",
    [FINISHED, Ending("stopped", "Ctrl-C"), Ending("capped", "node lost"), Ending("failed", "something new")],
    ids=lambda ending: ending.kind,
)
def test_no_other_ending_starts_a_trial_again(ending: Ending) -> None:
    assert not is_retried(ending, [])


@pytest.mark.parametrize(
    ("causes", "what"),
    [
        ("", None),
        ("worker killed", None),
        ("worker killed, out of host memory, node lost, out of memory beside others", None),
        ("worker killed, error beside others, worker killed", "process"),
        ("out of host memory, node lost, out of host memory", "process"),
        ("error beside others, worker killed", "stack"),
    ],
)
def test_a_trial_whose_company_came_to_harm_has_its_last_try_alone(causes: str, what: str | None) -> None:
    assert alone(causes.split(", ")) == what


def test_only_what_may_work_elsewhere_is_left_to_the_next_launch() -> None:
    left = {cause for cause in CAUSES if not Ending("failed", cause).final}
    assert left == {"node lost", "device failed"}
    assert all("next" in table(PAGE)[cause] for cause in left)
