"""After which failures a trial starts again, how often, until a device counts as broken, and its time."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sweeper.stats import events
from sweeper.stats.events import (
    DEVICE_FAILED,
    ERROR,
    FINISHED,
    HOST_MEMORY,
    NODE_LOST,
    OUT_OF_MEMORY,
    UNUSABLE_STATE,
    WORKER_KILLED,
    Ending,
)
from sweeper.sweep import retries
from sweeper.sweep.director import SweepDirector
from sweeper.sweep.retries import DEAD_DEVICE, RETRIES, alone, is_retried
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes.interrupted import begin, hand_in, kept, resumes
from tests.fakes.races import ends
from tests.fakes.sweeps import Sweep
from tests.fakes.training import always, by_depth, learns

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
    ray = "Ray is lost: its GCS or the raylet of this machine was killed, or Ray did not start"
    assert rows.keys() >= CAUSES
    assert rows.keys() - CAUSES <= {"cause", "---", "a loss that is not finite", "disk full, or not writable", ray}
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


def test_a_trial_that_starts_again_is_next_under_its_number_and_nothing_is_kept_of_its_first_start(
    sweep: Sweep,
) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    director = sweep.open()
    first, second = director.next_trial(), director.next_trial()
    assert isinstance(first, Assignment)
    assert isinstance(second, Assignment)
    director.report(first.number, next(iter(learns(by_depth)(first))))
    director.requeue(first.number, "there was no room")
    assert director.broadcast.notices == ["trial 0 starts again: there was no room"]
    assert [each.proposal.number for each in director.board.running()] == [1]
    assert sweep.rows() == []
    assert director.next_trial() == first
    for assignment in (first, second):
        for each in learns(by_depth)(assignment):
            director.report(assignment.number, each)
        director.end(assignment.number, FINISHED)
    sweep.run(learns(by_depth), director)
    assert sweep.states() == {0: "finished", 1: "finished", 2: "finished"}
    curves = [(row["trial"], row["replicate"], row["step"]) for row in sweep.rows("curves")]
    assert len(set(curves)) == len(curves)


def test_a_trial_that_would_start_again_after_a_stop_is_left_to_the_next_launch(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    director = sweep.open()
    first = director.next_trial()
    assert isinstance(first, Assignment)
    director.broadcast.stop("Ctrl-C")
    director.requeue(first.number, "there was no room")
    assert director.next_trial() is None
    sweep.launch(learns(by_depth))
    assert (sweep.numbers(), sweep.states()) == ([0], {0: "finished"})


@pytest.mark.parametrize(
    "cause", [ERROR, OUT_OF_MEMORY, NODE_LOST, WORKER_KILLED, HOST_MEMORY, DEVICE_FAILED, UNUSABLE_STATE]
)
def test_a_trial_starts_again_as_often_as_its_cause_allows(sweep: Sweep, cause: str) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    train, again = resumes(learns(always(50), evaluations=1)), RETRIES.get(cause, 0)
    director = sweep.open()
    for start in range(again + 1):
        assert sweep.rows() == []
        assignment = begin(director)
        began = 0 if cause == UNUSABLE_STATE else min(start, 3)
        assert assignment.state == (str(began).encode() if began else None), "from its last state"
        if start < 3:
            hand_in(director, assignment, train, 1)
        director.end(0, Ending("failed", cause, f"the {start}th time"))
    assert director.next_trial() is None
    assert director.broadcast.notices == [f"trial 0 starts again: {cause}"] * again
    (row,) = sweep.rows()
    said = (row["state"], row["why"], row["detail"], row["retries"])
    assert said == ("failed", cause, f"the {again}th time", [cause] * again)
    assert len(ends(sweep, 0)) == 2, "two replicates"

    final = cause not in (NODE_LOST, DEVICE_FAILED)
    assert [each.number for each in sweep.study().unfinished()] == ([] if final else [0])
    assert kept(sweep) == ([] if final else ["trial-00000000.npz"])
    sweep.launch(train)
    (row,) = sweep.rows()
    assert (row["state"], row["retries"]) == (
        ("failed", [cause] * again) if final else ("finished", [cause] * (again + 1))
    )
    if not final:
        assert sweep.trained[0].state == b"3"
        assert [each["step"] for each in sweep.rows("curves")] == [*range(10, 51, 10)] * 2


def test_each_cause_is_counted_by_itself_and_what_earlier_launches_lost_is_not(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    earlier = [WORKER_KILLED] * 4
    for cause in earlier:  # as where the raylet is killed, and the driver after it
        director = sweep.open()
        begin(director)
        director.end(0, Ending("failed", cause))
    director = sweep.open()
    causes = [WORKER_KILLED, HOST_MEMORY, NODE_LOST, HOST_MEMORY, WORKER_KILLED]
    for cause in causes:
        begin(director)
        director.end(0, Ending("failed", cause))
        assert sweep.rows() == []
    begin(director)
    director.requeue(0, "there was no room")
    begin(director)
    director.end(0, Ending("failed", WORKER_KILLED))
    (row,) = sweep.rows()
    retries = [*earlier, *causes, "there was no room"]
    assert (row["state"], row["why"], row["retries"]) == ("failed", WORKER_KILLED, retries)


def breaks(starts: Sequence[bool], train: Train) -> Train:
    """The same on a device that fails in those starts, one after the other."""
    broken = iter(starts)

    def train_or_break(assignment: Assignment) -> Iterator[Chunk]:
        if next(broken, False):
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nFor debugging consider ...\n")
        yield from train(assignment)

    return train_or_break


def test_three_failed_devices_in_a_row_end_the_launch(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    director = sweep.launch(breaks([False, True, True, True], learns(by_depth)))
    assert sweep.numbers() == [0, 1, 1, 1]
    assert director.stopping == "a device has failed"
    assert director.board.broken == (
        "3 trials in a row ended because their device failed (RuntimeError: CUDA error: an illegal memory access was "
        "encountered)"
    )
    assert [(row["state"], row["why"]) for row in sweep.rows()] == [("finished", ""), ("failed", "device failed")]

    again = sweep.launch(learns(by_depth))
    assert (again.board.broken, again.stopping) == ("", "")
    assert sweep.numbers()[4:] == [1, 2]
    assert sweep.states() == dict.fromkeys(range(3), "finished")
    assert [row["retries"] for row in sweep.rows()] == [[], ["device failed"] * 3, []]


def test_three_failed_devices_in_a_row_may_be_those_of_three_trials(sweep: Sweep) -> None:
    director = sweep.open()
    for number in range(3):
        assert begin(director).number == number
    for number in range(3):
        assert director.board.broken == ""
        director.end(number, Ending("failed", DEVICE_FAILED, "the runner's own words"))
    assert director.board.broken == "3 trials in a row ended because their device failed (the runner's own words)"
    assert director.next_trial() is None
    assert (sweep.rows(), len(sweep.study().unfinished())) == ([], 3)


def test_a_success_in_between_lets_the_launch_go_on(sweep: Sweep) -> None:
    sweep.changes = {"budget": {"trials": 3}}
    director = sweep.launch(breaks([True, True, False, True, True, False], learns(by_depth)))
    assert (director.board.broken, director.stopping) == ("", "")
    assert sweep.numbers() == [0, 0, 0, 1, 1, 1, 2]
    assert sweep.states() == dict.fromkeys(range(3), "finished")
    assert [row["retries"] for row in sweep.rows()] == [["device failed"] * 2] * 2 + [[]]


def test_the_time_of_all_starts_adds_up_and_the_first_one_stays_the_first(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    train = resumes(learns(always(100), evaluations=1))

    def start(director: SweepDirector, chunks: int, seconds: float) -> None:
        assignment = begin(director)
        for each in list(train(assignment))[:chunks]:
            clock[0] += seconds
            director.report(0, each)
        clock[0] += 0.25

    director = sweep.open()
    before = datetime.now(UTC)
    start(director, 3, 1.0)
    after = datetime.now(UTC)
    director.end(0, Ending("failed", NODE_LOST))  # 3.25
    start(director, 2, 10.0)  # 23.25 were written; then a kill, and the last quarter is lost
    clock[0] += 10_000
    director = sweep.open()
    start(director, 1, 100.0)  # 123.5
    director.broadcast.stop("Ctrl-C")
    director.end(0, Ending("stopped", "Ctrl-C"))
    (row,) = sweep.rows()
    assert (row["state"], row["seconds"], row["retries"]) == ("stopped", 123.5, ["node lost"])
    clock[0] += 10_000
    director = sweep.open()
    start(director, 4, 1000.0)  # 4123.75
    director.end(0, FINISHED)
    (row,) = sweep.rows()
    assert (row["state"], row["seconds"], row["retries"]) == ("finished", 4123.75, ["node lost"])
    assert before <= row["started"] <= after <= row["finished"]
    assert [each.seconds for each in director.board.totals.searched] == [4123.75]


def test_a_stop_of_a_trial_without_a_state_forgets_its_curve_and_not_its_time(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.changes = {"budget": {"trials": 1}}
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    director = sweep.open()
    hand_in(director, begin(director), learns(always(100), evaluations=1), 3)
    clock[0] += 5
    director.end(0, Ending("stopped", "Ctrl-C"))
    (stopped,) = sweep.rows()
    director = sweep.open()
    assignment = begin(director)
    assert assignment.state is None
    clock[0] += 1
    hand_in(director, assignment, learns(always(20)))
    director.end(0, FINISHED)
    (row,) = sweep.rows()
    assert (stopped["seconds"], row["seconds"]) == (5, 6)
    assert row["started"] == stopped["started"]
    assert [each["step"] for each in sweep.rows("curves")] == [10, 20] * 2
