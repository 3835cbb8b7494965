"""The study on real storages of Optuna: what it suggests, what it remembers, and what a crash leaves of it."""

import json
import math
import multiprocessing
import random
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar

import pytest
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from sweeper.config.model import Sampler
from sweeper.errors import UserError
from sweeper.search import sampler
from sweeper.search.study import Proposal, Study
from sweeper.space.hyperparameters import Hyperparameters, identity, to_flat
from sweeper.space.space import Choice, Float, Int, Space
from tests.fakes.studies import CONDITIONAL, FOUR, HORIZON, SMOOTH, opened, recorded, space_of


def records(tmp_path: Path) -> list[dict[str, Any]]:
    """The journal line by line, without what opens it."""
    lines = [json.loads(line) for line in (tmp_path / "study.journal").read_text().splitlines()]
    return [line for line in lines if line["op_code"] != JournalOperation.CREATE_STUDY]


def suggested(study: Study) -> Proposal:
    proposal = study.suggest()
    assert proposal is not None
    return proposal


def distance(settings: Hyperparameters) -> float:
    """A toy objective: smallest, 0, at weight decay 0.02, depth 3 and 2 heads."""
    return (
        abs(math.log(settings.weight_decay / 0.02))
        + abs(settings.depth - 3) / 2
        + abs(math.log2(settings.heads / 2)) / 2
    )


def run(study: Study, trials: int) -> list[Proposal]:
    """Suggest and tell, one after the other."""
    found = []
    for _ in range(trials):
        found.append(suggested(study))
        study.tell(found[-1].number, distance(found[-1].settings))
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("each_storage")
def test_a_baseline_inside_the_ranges_has_coordinates_and_is_never_suggested(tmp_path: Path) -> None:
    study = opened(tmp_path, FOUR)
    baseline = study.begin(FOUR.settings({"depth": 2, "heads": 1}), "baseline", "published")
    assert baseline == Proposal(0, FOUR.settings({"depth": 2, "heads": 1}), "baseline", "published")
    study.tell(0, 1.0)
    others = [suggested(study) for _ in range(3)]
    assert study.known(baseline.settings) == 0
    assert baseline.settings not in [each.settings for each in others]
    assert {each.phase for each in others} == {"search"}
    assert recorded(tmp_path)[0].params == {"depth": 2, "heads": 1}
    assert study.in_space(0)
    assert study.count == 4


@pytest.mark.slow
@pytest.mark.usefixtures("each_storage")
def test_a_baseline_outside_the_ranges_is_recorded_without_coordinates(tmp_path: Path) -> None:
    study = opened(tmp_path, SMOOTH)
    outside = SMOOTH.settings({"weight_decay": 0.5, "depth": 2, "heads": 4})
    assert study.begin(outside, "baseline", "published").settings == outside
    study.tell(0, 1.5)
    (trial,) = recorded(tmp_path)
    assert (trial.state, trial.value, trial.params) == (TrialState.COMPLETE, 1.5, {})
    assert study.values() == {0: 1.5}
    assert study.known(outside) == 0
    assert study.count == 1
    assert not study.in_space(0)
    assert not opened(tmp_path, SMOOTH).in_space(0)


@pytest.mark.slow
def test_tpe_concentrates_where_the_objective_is_low_in_spite_of_an_outside_baseline(tmp_path: Path) -> None:
    late: dict[str, list[float]] = {"tpe": [], "random": []}
    for name, scores in late.items():
        for seed in range(10):
            folder = tmp_path / f"{name}-{seed}"
            folder.mkdir()
            study = opened(folder, SMOOTH, name, seed=seed, startup_trials=8)
            study.begin(SMOOTH.settings({"weight_decay": 0.5}), "baseline", "published")
            study.tell(0, 9.0)
            proposals = run(study, 22)
            assert all(0.01 <= each.settings.weight_decay <= 0.1 for each in proposals)
            scores.append(mean(distance(each.settings) for each in proposals[-10:]))
    assert mean(late["tpe"]) < 0.75 * mean(late["random"])
    better = sum(tpe < other for tpe, other in zip(late["tpe"], late["random"], strict=True))
    assert better >= 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpe", "random"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_suggestion_is_legal_under_conditions_and_requirements(tmp_path: Path, name: str, seed: int) -> None:
    space = space_of(CONDITIONAL, {"depth": 2}, ["batch.max <= 8 * batch.min", "heads * 16 <= width"])
    study = opened(tmp_path, space, name, seed=seed, startup_trials=8)
    chance = random.Random(seed)
    shapes = Counter[str]()
    for _ in range(25):
        proposal = suggested(study)
        settings, batch = proposal.settings, proposal.settings.batch
        shapes[batch.shape] += 1
        assert settings.width % settings.heads == 0
        assert settings.heads * 16 <= settings.width
        assert settings.depth == 2
        assert 0.01 <= settings.weight_decay <= 0.1
        assert 64 <= batch.max <= 1024
        if batch.shape == "constant":
            assert batch.min is None
        else:
            assert batch.min is not None
            assert 16 <= batch.min <= min(batch.max, 256)
            assert batch.max <= 8 * batch.min
        assert 1 <= batch.cycles <= 8
        if batch.shape != "cyclic":
            assert batch.cycles == 5, "the default"
        study.tell(proposal.number, chance.random())
    assert len(shapes) == 3


@pytest.mark.parametrize("name", ["tpe", "random", "grid"])
def test_the_journal_holds_what_is_trained_and_nothing_else(tmp_path: Path, name: str) -> None:
    study = opened(tmp_path, FOUR, name, startup_trials=2)
    proposals = run(study, 4)
    assert study.suggest() is None
    assert len({each.settings for each in proposals}) == 4
    assert [each.number for each in proposals] == [0, 1, 2, 3]
    assert study.opened() == proposals
    trials = recorded(tmp_path)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert [trial.value for trial in trials] == [distance(each.settings) for each in proposals]
    assert [trial.params for trial in trials] == [
        {"depth": each.settings.depth, "heads": each.settings.heads} for each in proposals
    ]
    assert [(line["op_code"], line.get("state")) for line in records(tmp_path)] == [
        (JournalOperation.CREATE_TRIAL, TrialState.RUNNING),
        (JournalOperation.SET_TRIAL_STATE_VALUES, TrialState.COMPLETE),
    ] * 4


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_repeats_of_running_trials_leave_no_trace(tmp_path: Path, name: str) -> None:
    study = opened(tmp_path, FOUR, name, startup_trials=2)
    proposals = [suggested(study) for _ in range(4)]
    assert study.suggest() is None
    assert len({each.settings for each in proposals}) == 4
    assert [line["op_code"] for line in records(tmp_path)] == [JournalOperation.CREATE_TRIAL] * 4
    modelled = study._suggestions._study
    assert len(modelled.get_trials(states=(TrialState.RUNNING,))) == 4, "nor in the sampler's memory"
    assert len(modelled.get_trials(states=(TrialState.FAIL,))) > 4, "otherwise nothing was repeated"
    for each in proposals:
        study.tell(each.number, distance(each.settings))
    assert len(modelled.get_trials(states=(TrialState.COMPLETE,))) == 4
    assert opened(tmp_path, FOUR).values() == {each.number: distance(each.settings) for each in proposals}


@pytest.mark.slow
@pytest.mark.usefixtures("each_storage")
@pytest.mark.parametrize("name", ["tpe", "random", "grid"])
def test_an_exhausted_space_ends_with_none(tmp_path: Path, name: str) -> None:
    study = opened(tmp_path, FOUR, name, startup_trials=2)
    proposals = run(study, 4)
    assert study.suggest() is None
    assert study.count == len({each.settings for each in proposals}) == 4
    assert opened(tmp_path, FOUR, name).suggest() is None


def test_grid_gives_every_legal_configuration_once(tmp_path: Path) -> None:
    parameters = {
        "batch.shape": Choice(choice=("constant", "linear")),
        "batch.min": Choice(choice=(16, 64), when="batch.shape != constant"),
        "batch.max": Choice(choice=(32, 64)),
        "heads": Choice(choice=(2, 3)),
        "weight_decay": Float(float=(0.25, 0.75), step=0.25),
    }
    space = space_of(parameters, {"width": 64})
    study = opened(tmp_path, space, "grid")
    baseline = study.begin(space.settings({"batch.max": 32, "heads": 2, "weight_decay": 0.5}), "baseline", "published")
    found = [baseline.settings]
    while (proposal := study.suggest()) is not None:
        found.append(proposal.settings)
        if len(found) == 4:
            study = opened(tmp_path, space, "grid")
    # constant 32 or 64; linear 16 -> 32, 16 -> 64, and 64 -> 64, which is constant; heads 3 does not divide 64
    schedules = {("constant", None, 32), ("constant", None, 64), ("linear", 16, 32), ("linear", 16, 64)}
    expected = {(*schedule, 2, decay) for schedule in schedules for decay in (0.25, 0.5, 0.75)}
    got = [(s.batch.shape, s.batch.min, s.batch.max, s.heads, s.weight_decay) for s in found]
    assert sorted(map(str, got)) == sorted(map(str, expected))


@pytest.mark.parametrize("name", ["tpe", "random", "grid"])
@pytest.mark.parametrize(
    ("high", "step", "written"),
    [
        (0.3, 0.1, [0.1, 0.2, 0.3]),
        (0.8, 0.1, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
        (0.25, 0.1, [0.1, 0.2]),
        (1.0, 0.3, [0.1, 0.4, 0.7, 1.0]),
        (0.10004, 1e-5, [0.1, 0.10001, 0.10002, 0.10003, 0.10004]),
    ],
)
def test_steps_have_the_values_that_a_person_would_write(
    tmp_path: Path, name: str, high: float, step: float, written: list[float]
) -> None:
    """Suggested, as a baseline, under a requirement, recorded, and after a reopening."""
    require = [f"weight_decay <= {written[-1]!r}", "weight_decay >= 0.1"]
    space = space_of({"weight_decay": Float(float=(0.1, high), step=step)}, require=require)
    study = opened(tmp_path, space, name, startup_trials=1)
    baseline = study.begin(space.settings({"weight_decay": written[-1]}), "baseline", "last")
    study.tell(baseline.number, 1.0)
    assert study.in_space(0)
    decays = [baseline.settings.weight_decay]
    while (proposal := study.suggest()) is not None:
        decays.append(proposal.settings.weight_decay)
        study.tell(proposal.number, proposal.settings.weight_decay)
        study = opened(tmp_path, space, name, startup_trials=1)
        assert study.in_space(proposal.number)
    assert sorted(decays) == written
    assert [trial.params["weight_decay"] for trial in recorded(tmp_path)] == decays


@pytest.mark.parametrize(("name", "learns"), [("tpe", True), ("random", False)])
def test_only_tpe_learns_from_what_it_is_told(tmp_path: Path, name: str, learns: bool) -> None:
    found = []
    for sign in (1, -1):
        folder = tmp_path / str(sign)
        folder.mkdir()
        study, settings = opened(folder, SMOOTH, name, startup_trials=4), []
        for _ in range(12):
            settings.append(suggested(study).settings)
            study.tell(len(settings) - 1, sign * distance(settings[-1]))
        found.append(settings)
    assert found[0][:4] == found[1][:4]
    assert (found[0] != found[1]) == learns


def test_the_same_seed_gives_the_same_suggestions_and_another_seed_others(tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        found.append([each.settings for each in run(opened(tmp_path / name, SMOOTH, seed=seed, startup_trials=4), 8)])
    assert found[0] == found[1]
    assert not set(found[0]) & set(found[2])


def test_a_reopened_study_does_not_repeat_its_startup_points(tmp_path: Path) -> None:
    decays = []
    for _ in range(4):
        study = opened(tmp_path, SMOOTH, startup_trials=50)
        decays += [each.settings.weight_decay for each in run(study, 3)]
    assert len({round(math.log(decay), 6) for decay in decays}) == 12


@pytest.mark.slow
@pytest.mark.usefixtures("each_storage")
def test_unfinished_are_the_running_trials_under_their_own_numbers(tmp_path: Path) -> None:
    study = opened(tmp_path, SMOOTH)
    outside = study.begin(SMOOTH.settings({"weight_decay": 0.5}), "baseline", "published")
    inside = study.begin(SMOOTH.settings({"weight_decay": 0.05}), "baseline", "strong")
    searched = [suggested(study) for _ in range(4)]
    study.tell(inside.number, 1.0)
    study.tell(searched[1].number, 2.0)
    confirm = study.begin(inside.settings, "confirm", str(inside.number))
    running = [outside, searched[0], searched[2], searched[3], confirm]
    assert study.unfinished() == running

    for _ in range(2):
        reopened = opened(tmp_path, SMOOTH)
        assert reopened.unfinished() == running
        assert reopened.opened() == [outside, inside, *searched, confirm]
        assert reopened.count == 6
        assert reopened.values() == {inside.number: 1.0, searched[1].number: 2.0}
    reopened.tell(outside.number, 3.0)
    reopened.tell(confirm.number, 4.0)
    assert reopened.unfinished() == [searched[0], searched[2], searched[3]]
    assert reopened.values() == {outside.number: 3.0, inside.number: 1.0, searched[1].number: 2.0}


@pytest.mark.slow
@pytest.mark.usefixtures("each_storage")
def test_a_confirmation_is_no_configuration_of_its_own(tmp_path: Path) -> None:
    study = opened(tmp_path, FOUR)
    (first,) = run(study, 1)
    confirm = study.begin(first.settings, "confirm", str(first.number))
    study.tell(confirm.number, 0.0)
    assert study.known(first.settings) == first.number
    assert study.count == 1
    assert recorded(tmp_path)[confirm.number].params == {}
    assert opened(tmp_path, FOUR).known(first.settings) == first.number


@pytest.mark.slow
@pytest.mark.usefixtures("each_storage")
@pytest.mark.parametrize("name", ["tpe", "random", "grid"])
def test_again_opens_a_finished_trials_configuration_under_a_new_number(tmp_path: Path, name: str) -> None:
    study = opened(tmp_path, FOUR, name)
    first, second = run(study, 2)
    again = study.reopen(first)
    assert again == Proposal(2, first.settings, "search", "0")
    assert study.count == 2, "it is no configuration of its own"
    assert study.known(first.settings) == 2
    assert study.values() == {1: distance(second.settings)}, "the value of a trial taken up again no longer counts"
    assert (study.in_space(0), study.in_space(2)) == (False, True)
    assert study.unfinished() == [again]
    assert recorded(tmp_path)[2].params == recorded(tmp_path)[0].params

    for reopened in (opened(tmp_path, FOUR, name), opened(tmp_path, FOUR, name)):
        assert reopened.unfinished() == [again]
        assert reopened.opened() == [first, second, again]
        assert (reopened.count, reopened.known(first.settings)) == (2, 2)
        assert reopened.values() == {1: distance(second.settings)}
        assert (reopened.in_space(0), reopened.in_space(2)) == (False, True)
    reopened.tell(2, 7.5)
    assert reopened.values() == {1: distance(second.settings), 2: 7.5}
    rest = run(reopened, 2)
    assert [each.number for each in rest] == [3, 4]
    assert reopened.suggest() is None
    assert len({each.settings for each in (first, second, *rest)}) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("each_storage")
def test_a_trial_is_taken_up_again_as_often_as_is_asked_for(tmp_path: Path) -> None:
    study = opened(tmp_path, FOUR)
    proposal = study.begin(FOUR.settings({"depth": 2, "heads": 1}), "baseline", "published")
    for number in range(3):
        study.tell(number, float(number))
        proposal = study.reopen(proposal)
        assert proposal == Proposal(number + 1, proposal.settings, "baseline", str(number))
        assert study.values() == {}
    study.tell(3, 3.0)
    assert study.values() == opened(tmp_path, FOUR).values() == {3: 3.0}


@pytest.mark.slow
@pytest.mark.usefixtures("each_storage")
def test_a_trial_outside_the_space_is_taken_up_again_without_coordinates(tmp_path: Path) -> None:
    study = opened(tmp_path, SMOOTH)
    outside = study.begin(SMOOTH.settings({"weight_decay": 0.5}), "baseline", "published")
    study.tell(0, 1.0)
    assert study.reopen(outside) == Proposal(1, outside.settings, "baseline", "0")
    assert not study.in_space(1)
    study.tell(1, 2.0)
    assert study.values() == opened(tmp_path, SMOOTH).values() == {1: 2.0}
    assert [trial.params for trial in recorded(tmp_path)] == [{}, {}]


class Watched(sampler._Tpe):
    """TPE that notes what its model is built from: weight decays and values, running trials without one."""

    modelled: ClassVar[list[tuple[float, float | None]]] = []

    def _build_parzen_estimator(self, study: Any, search_space: Any, trials: Any, handle_below: bool) -> Any:
        self.modelled.extend((trial.params["weight_decay"], trial.value) for trial in trials)
        return super()._build_parzen_estimator(study, search_space, trials, handle_below)


@pytest.mark.parametrize("reopen", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_the_sampler_does_not_model_what_a_trial_taken_up_again_was_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reopen: bool, told: bool
) -> None:
    monkeypatch.setattr(sampler, "_Tpe", Watched)
    study = opened(tmp_path, SMOOTH, startup_trials=5)
    proposals = run(study, 6)
    again = study.reopen(proposals[2])
    if told:
        study.tell(again.number, 4.5)
    if reopen:
        study = opened(tmp_path, SMOOTH, startup_trials=5)
    Watched.modelled.clear()
    suggested(study)
    known = {each.settings.weight_decay: distance(each.settings) for each in proposals}
    new = {proposals[2].settings.weight_decay: 4.5 if told else None}
    assert len(Watched.modelled) == 6
    assert dict(Watched.modelled) == known | new


@pytest.mark.usefixtures("each_storage")
def test_equivalent_spellings_are_one_configuration(tmp_path: Path) -> None:
    space = space_of(CONDITIONAL)
    study = opened(tmp_path, space)
    first = study.begin(space.settings({"batch.shape": "constant", "batch.max": 128}), "baseline", "one")
    same = space.settings({"batch.shape": "linear", "batch.min": 128, "batch.max": 128})
    assert study.known(same) == first.number


def test_telling_twice_changes_nothing(tmp_path: Path) -> None:
    study = opened(tmp_path, SMOOTH)
    (first,) = run(study, 1)
    before, value = (tmp_path / "study.journal").read_bytes(), study.values()
    study.tell(first.number, 99.0)
    assert study.values() == value
    assert opened(tmp_path, SMOOTH).values() == value
    assert (tmp_path / "study.journal").read_bytes().startswith(before)


def test_a_torn_last_line_is_dropped_with_a_warning(tmp_path: Path) -> None:
    study = opened(tmp_path, SMOOTH)
    run(study, 2)
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    running = suggested(study)
    torn = journal.read_bytes()[:-30]
    assert torn.startswith(whole)
    journal.write_bytes(torn)
    size = len(torn) - torn.rfind(b"\n") - 1
    with pytest.warns(UserWarning, match=f"study.journal: dropped an unfinished last record of {size} bytes"):
        reopened = opened(tmp_path, SMOOTH)
    assert reopened.unfinished() == [], "the trial was not opened yet"
    assert len(reopened.values()) == 2
    assert suggested(reopened).number == running.number
    assert opened(tmp_path, SMOOTH).count == 3


NO_JOURNALS = {
    "text": b"name: a sweep\ntask: x\n",
    "text without a line's end": b"name: a sweep",
    "a second line without its end": b"name: a sweep\nta",
    "binary": bytes(range(256)) * 4,
    "sqlite": b"SQLite format 3\x00" + bytes(200),
    "other json lines": b'{"a": 1}\n{"b": 2}\n',
    "a json array": b"[1, 2]\n",
}


@pytest.mark.filterwarnings("default:.*dropped an unfinished:UserWarning")
@pytest.mark.parametrize("kind", NO_JOURNALS)
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    journal = tmp_path / "study.journal"
    journal.write_bytes(NO_JOURNALS[kind])
    with pytest.raises(UserError) as caught:
        opened(tmp_path, SMOOTH)
    assert str(caught.value).startswith(f"{journal}: ")
    assert str(caught.value).endswith("; put back a copy of it, or give the sweep another name")
    assert journal.read_bytes() == NO_JOURNALS[kind]


def test_a_journal_damaged_in_its_middle_is_refused(tmp_path: Path) -> None:
    run(opened(tmp_path, SMOOTH), 3)
    journal = tmp_path / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[5] = lines[5][:20] + b"\x00\x00\x00\n"
    journal.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=r"study\.journal"):
        opened(tmp_path, SMOOTH)
    assert journal.read_bytes() == b"".join(lines)


def test_an_empty_journal_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "study.journal").touch()
    assert run(opened(tmp_path, SMOOTH), 1)[0].number == 0


def test_a_lock_that_a_killed_process_left_does_not_hold_up_the_next(tmp_path: Path) -> None:
    """`launch.lock` keeps other launches out, so a lock file beside the journal is a dead process's."""
    run(opened(tmp_path, SMOOTH), 1)
    (tmp_path / "study.journal.lock").touch()
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(opened(tmp_path, SMOOTH).count), daemon=True)
    thread.start()
    thread.join(timeout=5)
    assert counts == [1]


CAPPED = 99.0


def check_sound(tmp_path: Path, space: Space) -> None:
    """What must hold whenever nothing is running: all is told, coordinates mean what ran, nothing ran twice."""
    study, trials = opened(tmp_path, space), recorded(tmp_path)
    proposals = study.opened()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * len(trials)
    assert [each.number for each in proposals] == [trial.number for trial in trials] == list(range(len(trials)))
    for trial, proposal in zip(trials, proposals, strict=True):
        flat = to_flat(proposal.settings)
        assert {key: flat[key] for key in space.parameters} == trial.params
        if proposal.phase == "search" and proposal.name:
            old = int(proposal.name)
            assert trials[old].value == CAPPED, "only capped trials are taken up again"
            assert proposals[old].settings == proposal.settings
    values = study.values()
    assert values == {number: distance(proposals[number].settings) for number in values}
    kept = [identity(proposals[number].settings, HORIZON) for number in values]
    assert sorted(kept) == sorted({identity(each.settings, HORIZON) for each in proposals})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tpe", "grid"])
def test_a_crash_between_any_two_records_is_recovered_from(tmp_path: Path, name: str) -> None:
    """Every prefix of the journal is a place where a process can have been killed."""
    space = space_of({"depth": Int(int=(1, 3)), "heads": Choice(choice=(1, 2))})
    baselines = {"one": space.settings({"depth": 1, "heads": 2}), "two": space.settings({"depth": 3, "heads": 1})}

    def value(proposal: Proposal) -> float:
        """Some trials are capped until they are taken up again."""
        capped = proposal.phase == "search" and proposal.settings.heads == 1 and not proposal.name
        return CAPPED if capped else distance(proposal.settings)

    def launch(folder: Path) -> None:
        """What the director does with the study: two trials at a time, then the capped ones once more."""
        study = opened(folder, space, name, startup_trials=2)
        live = study.unfinished()
        live += [study.begin(each, "baseline", b) for b, each in baselines.items() if study.known(each) is None]
        while len(live) > 1 or study.count < 5:
            if study.count < 5:
                live.append(suggested(study))
            first = live.pop(0)
            study.tell(first.number, value(first))
        for each in live:
            study.tell(each.number, value(each))
        opened_before = study.opened()
        for number, told in study.values().items():
            if told == CAPPED:
                again = study.reopen(opened_before[number])
                study.tell(again.number, value(again))

    launch(tmp_path)
    check_sound(tmp_path, space)
    assert [each for each in opened(tmp_path, space).opened() if each.phase == "search" and each.name]
    lines = (tmp_path / "study.journal").read_bytes().splitlines(keepends=True)
    wrong: dict[int, str] = {}
    for cut in range(len(lines)):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "study.journal").write_bytes(b"".join(lines[:cut]))
        launch(folder)
        try:
            check_sound(folder, space)
        except AssertionError as error:
            wrong[cut] = str(error).splitlines()[0]
    assert wrong == {}


def _tell_until_killed(folder: Path, reported: Path) -> None:
    """What the process to be killed does: a line for every trial that `tell` has returned from."""
    study = opened(folder, SMOOTH, startup_trials=5)
    with open(reported, "ab", buffering=0) as log:
        for proposal in study.unfinished():
            study.tell(proposal.number, distance(proposal.settings))
        while (proposal := suggested(study)) is not None:
            study.tell(proposal.number, distance(proposal.settings))
            log.write(b"%d\n" % proposal.number)


@pytest.mark.slow
@pytest.mark.filterwarnings("default:.*dropped an unfinished:UserWarning")
def test_what_was_told_before_kill_9_is_there_after_it(tmp_path: Path) -> None:
    reported = tmp_path / "reported"
    reported.touch()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    chance = random.Random(0)
    for _ in range(3):
        size = reported.stat().st_size
        process = context.Process(target=_tell_until_killed, args=(tmp_path, reported))
        process.start()
        try:
            deadline = time.monotonic() + 40
            while reported.stat().st_size < size + 4 and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.05))
        finally:
            process.kill()
            process.join()
        study = opened(tmp_path, SMOOTH)
        numbers = [int(line) for line in reported.read_text().splitlines()]
        assert len(numbers) > 1
        assert all(first < second for first, second in pairwise(numbers))
        values, proposals = study.values(), {each.number: each for each in study.opened()}
        assert {number: values[number] for number in numbers} == {n: distance(proposals[n].settings) for n in numbers}
        unfinished = {each.number for each in study.unfinished()}
        assert len(unfinished) <= 1
        assert not unfinished & set(numbers)


@pytest.mark.slow
def test_a_gaussian_process_searches_conditional_spaces_and_a_reopened_study_goes_on(tmp_path: Path) -> None:
    parameters = {
        "batch.shape": Choice(choice=("constant", "cyclic", "linear")),
        "batch.cycles": Int(int=(1, 6), when="batch.shape == cyclic"),
        "weight_decay": Float(float=(0.01, 1), log=True),
        "depth": Int(int=(1, 2)),
    }
    space = Space(parameters, {"batch.min": 32, "batch.max": 64}, (), 2000)

    def value(proposal: Proposal) -> float:
        flat = to_flat(proposal.settings)
        cycles = abs(flat["batch.cycles"] - 4) / 10 if flat["batch.shape"] == "cyclic" else 0.5
        return 6 + cycles + abs(math.log(flat["weight_decay"] / 0.3)) / 4 + 0.2 * (flat["depth"] == 2)

    best = math.inf
    for _ in range(2):
        study = Study(tmp_path / "study.journal", space, Sampler(name="gp", startup_trials=6), 3)
        for _ in range(14):
            proposal = study.suggest()
            assert proposal is not None
            best = min(best, value(proposal))
            study.tell(proposal.number, value(proposal))
    assert best < 6.2
    assert len({identity(proposal.settings, 2000) for proposal in study.opened()}) == 28
