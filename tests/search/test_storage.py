"""The record of trials on real storages: what damage is refused, and what is never a traceback."""

import json
import math
import os
import random
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from sweeper.config.model import Sampler
from sweeper.errors import StorageError, UserError
from sweeper.search.study import Study
from sweeper.space.space import Choice, Float, Int, Space

SPACE = Space(
    {
        "weight_decay": Float(float=(0.01, 0.1), log=True),
        "depth": Int(int=(1, 4)),
        "batch.shape": Choice(choice=("constant", "linear")),
        "betas": Choice(choice=((0.9, 0.98), (0.9, 0.99))),
    },
    {},
    (),
    200,
)
HOSTILE: list[Any] = [
    *(None, True, "", "x", "9", "sweep", -1, 0, 7, 1.5, 1e308, 10**400, float("inf"), float("nan"), "\x00", "\ud800"),
    *([], {}, [None], {"a": 1}, {"name": 3}, "{}", "[]", "2020-01-01", "x" * 10_000, json.loads("[" * 200 + "]" * 200)),
]
BYTES = [b"\x00", b"\xff\xfe", b"{", b"}", b'"', b"\n", b"1e999", b"[" * 5000, b"\r\n", b"null"]


def opened(journal: Path) -> Study:
    return Study(journal, SPACE, Sampler(name="random"), 3)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The lines of a journal in which everything occurs: baselines, outside trials, confirmations, second starts."""
    journal = tmp_path_factory.mktemp("sound") / "study.journal"
    study = opened(journal)
    study.begin(SPACE.settings({"weight_decay": 0.5}), "baseline", "outside")
    study.tell(0, 2.0)
    proposals = [study.suggest() for _ in range(5)]
    for proposal in proposals[:3]:
        assert proposal is not None
        study.tell(proposal.number, float(proposal.number))
    assert proposals[1] is not None
    study.reopen(proposals[1])
    study.begin(proposals[1].settings, "confirm", "1")
    study.tell(7, 1.0)
    return journal.read_bytes().splitlines(keepends=True)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(below for key, each in pairs for below in places(each, (*path, key)))]


def with_another_value(lines: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(lines))
    record = json.loads(lines[at])
    *path, last = chance.choice(places(record)[1:])
    owner = record
    for key in path:
        owner = owner[key]
    if chance.random() < 0.25:
        del owner[last]
    else:
        owner[last] = chance.choice([*HOSTILE, chance.randrange(12)])
    lines[at] = json.dumps(record).encode() + b"\n"


def with_another_line(lines: list[bytes], chance: random.Random) -> None:
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[other])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case _:
            lines[at] = json.dumps(chance.choice(HOSTILE)).encode() + b"\n"


def with_other_bytes(lines: list[bytes], chance: random.Random) -> None:
    content = bytearray(b"".join(lines))
    at = chance.randrange(len(content))
    width = chance.choice([0, 1, 1, 1, 20, 500])
    content[at : at + width] = chance.choice([*BYTES, chance.randbytes(1), b"", b"\x00" * width])
    lines[:] = [bytes(content)]


def with_another_op_code(lines: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(lines))
    record = json.loads(lines[at])
    record["op_code"] = chance.choice([*range(12), "4", None, -1, 4.0])
    lines[at] = json.dumps(record).encode() + b"\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("default:.*dropped an unfinished:UserWarning")
@pytest.mark.parametrize(
    "damage",
    [with_another_value, with_another_line, with_other_bytes, with_another_op_code],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_journal_is_refused_in_words_or_is_sound(
    tmp_path: Path, sound: list[bytes], damage: Callable[[list[bytes], random.Random], None]
) -> None:
    journal = tmp_path / "study.journal"
    said = []
    for seed in range(60):
        lines = list(sound)
        damage(lines, random.Random(seed))
        journal.write_bytes(b"".join(lines))
        try:
            study = opened(journal)
        except UserError as error:
            said.append(str(error))
            continue
        for proposal in (*study.unfinished(), study.suggest()):
            assert proposal is not None
            study.tell(proposal.number, 3.0)
        again = opened(journal)
        assert (again.opened(), again.values(), again.unfinished()) == (study.opened(), study.values(), []), seed
    assert len(said) > 30
    assert [each for each in said if not each.startswith(f"{journal}: damaged, or written by another version (")] == []
    assert [each for each in said if not each.endswith("put back a copy of it, or give the sweep another name")] == []


WRONG: dict[str, tuple[int, Callable[[dict[str, Any]], object], str]] = {
    "another study": (0, lambda record: record.update(study_name="other"), "it holds the studies ['other']"),
    "an unknown operation": (3, lambda record: record.update(op_code=17), "AssertionError"),
    "a trial of another study": (3, lambda record: record.update(study_id=1), "trial 2 stands where trial 1 should"),
    "no description": (3, lambda record: record["user_attrs"].clear(), "Field required"),
    "a value that is none": (
        2,
        lambda record: record.update(values=[math.inf]),
        "trial 0 is COMPLETE with values [inf]",
    ),
    "no value": (2, lambda record: record.update(values=None), "trial 0 is COMPLETE with values None"),
    "a state of others": (2, lambda record: record.update(state=TrialState.PRUNED), "trial 0 is PRUNED"),
    "settings that are none": (
        3,
        lambda record: record["user_attrs"]["trial"]["settings"].update(width=-1),
        "greater than or equal to 1",
    ),
    "settings that do not fit": (
        3,
        lambda record: record["user_attrs"]["trial"]["settings"].update(heads=7),
        "trial 1: heads: 7 heads do not divide width 128",
    ),
    "a key of another version": (3, lambda record: record["user_attrs"]["trial"].update(colour="red"), "Extra inputs"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_we_would_not_have_written_is_refused(tmp_path: Path, sound: list[bytes], kind: str) -> None:
    at, change, reason = WRONG[kind]
    record = json.loads(sound[at])
    change(record)
    journal = tmp_path / "study.journal"
    journal.write_bytes(b"".join([*sound[:at], json.dumps(record).encode() + b"\n", *sound[at + 1 :]]))
    with pytest.raises(UserError) as caught:
        opened(journal)
    assert str(caught.value).startswith(f"{journal}: damaged, or written by another version (")
    assert reason in str(caught.value)


def test_a_trial_whose_coordinates_are_damaged_lies_where_its_settings_do(tmp_path: Path, sound: list[bytes]) -> None:
    at = next(i for i, line in enumerate(sound) if b'"search"' in line)
    record = json.loads(sound[at])
    assert json.loads(record["distributions"]["depth"])["name"] == "IntDistribution"
    record["params"]["depth"] = 77
    journal = tmp_path / "study.journal"
    journal.write_bytes(b"".join([*sound[:at], json.dumps(record).encode() + b"\n", *sound[at + 1 :]]))
    study = opened(journal)
    assert study.in_space(1)
    again = study.reopen(study.opened()[1])
    assert opened(journal).in_space(again.number)


def test_a_journal_that_cannot_be_used_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    journal.mkdir()
    with pytest.raises(UserError) as caught:
        opened(journal)
    assert "it is not a regular file" in str(caught.value)
    assert journal.is_dir()


@pytest.mark.parametrize("kind", ["pipe", "link", "link to nowhere"])
def test_what_is_no_file_is_neither_read_nor_written(tmp_path: Path, sound: list[bytes], kind: str) -> None:
    journal, elsewhere = tmp_path / "study.journal", tmp_path / "elsewhere"
    if kind == "pipe":
        os.mkfifo(journal)
    else:
        journal.symlink_to(elsewhere)
    if kind == "link":
        elsewhere.write_bytes(b"".join(sound) + b"torn")
    with pytest.raises(UserError, match="it is not a regular file"):
        opened(journal)
    assert (elsewhere.read_bytes() if elsewhere.exists() else b"") in (b"", b"".join(sound) + b"torn")


def test_a_journal_that_cannot_be_written_ends_the_launch_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    folder.mkdir()
    study = opened(folder / "study.journal")
    proposal = study.suggest()
    assert proposal is not None
    shutil.rmtree(folder)
    words = (
        f"{folder / 'study.journal'}: could not be written: No such file or directory; everything written before is "
        "whole, and the same command continues the sweep"
    )
    for write in (study.suggest, lambda: study.tell(proposal.number, 1.0)):
        with pytest.raises(StorageError) as caught:
            write()
        assert str(caught.value) == words


def test_a_second_writer_of_a_journal_is_noticed(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "study.journal"), opened(tmp_path / "study.journal")
    one.suggest()
    with pytest.raises(UserError, match="another launch opens trials of this sweep; end one of the two"):
        other.suggest()


@pytest.mark.slow
def test_a_trial_leaves_little_in_memory(tmp_path: Path) -> None:
    study = opened(tmp_path / "study.journal")
    suggested = [study.suggest() for _ in range(3)]

    def confirm(trials: int) -> None:
        for _ in range(trials):
            assert suggested[0] is not None
            study.tell(study.begin(suggested[0].settings, "confirm", "0").number, 1.0)

    confirm(20)
    tracemalloc.start()
    try:
        confirm(200)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown / 200 < 2_000
