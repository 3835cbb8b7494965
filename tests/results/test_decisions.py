"""The file of decisions: what is read is what was written, and damage is named."""

import math
from pathlib import Path

import pytest

from sweeper.errors import StorageError, UserError
from sweeper.folder.layout import SweepFolder
from sweeper.results.decisions import Decision, Decisions, paused_trials, predicted, rounded

WHOLE = Decision(
    1.5, "seen", 3, 250, (25, 20), 1, (6.5, 0.2), (1, 2), (4,), 5, True, 2, 0.5, 60.0, (0.1, -2.0), 7, ((0, 0), (1, 2))
)
WRITTEN = (Decision(1.0, "trains", 3), WHOLE, Decision(2.0, "paused", 3, 250, seeds=1, expected=(6.5, 0.2)))


@pytest.fixture
def file(tmp_path: Path) -> Decisions:
    found = Decisions(SweepFolder(tmp_path))
    assert found.read() == []
    found.mend()
    for each in WRITTEN:
        found.append(each)
    return found


def test_what_is_read_is_what_was_written_but_for_a_torn_record(file: Decisions, tmp_path: Path) -> None:
    path = SweepFolder(tmp_path).decisions
    whole = path.read_bytes()
    with path.open("ab") as torn:
        torn.write(b'{"at":3.0,"ki')
    assert file.read() == list(WRITTEN)
    file.mend()
    assert path.read_bytes() == whole
    (waits,) = paused_trials(file.read()).values()
    assert (waits.trial, waits.step, waits.seeds, waits.expected, waits.since) == (3, 250, 1, (6.5, 0.2), 2.0)
    file.append(Decision(3.0, "over", 3))
    assert paused_trials(file.read()) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 4: Invalid JSON"),
        ('{"at":1.0,"kind":"sleeps"}', "line 4: kind: Input should be"),
        ('{"at":1.0,"kind":"seen","trial":-1}', "line 4: trial: Input should be greater"),
        ('{"at":1.0,"kind":"seen","expected":[NaN,1.0]}', "line 4: "),
        ('{"at":1.0,"kind":"seen","more":1}', "line 4: more"),
    ],
)
def test_damage_is_named(file: Decisions, tmp_path: Path, line: str, said: str) -> None:
    with SweepFolder(tmp_path).decisions.open("a") as path:
        path.write(line + "\n")
    with pytest.raises(UserError, match="remove the lines from there on") as refused:
        file.read()
    assert said in str(refused.value)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    SweepFolder(tmp_path).decisions.mkdir()
    with pytest.raises(StorageError, match="could not be written"):
        Decisions(SweepFolder(tmp_path)).append(WHOLE)


def test_predictions_in_words() -> None:
    assert str(predicted((math.log(1900), 0.2), 10_000)) == "about 1,900, 80 % interval 1,470 to 2,460"
    assert predicted((math.log(1900), 0.2), 2000).high == 2000
    assert [rounded(each) for each in (0.0123, 1.26, 12.6, 126.4, 12_640.0)] == ["0.012", "1.3", "13", "126", "12,600"]
