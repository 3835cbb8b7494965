"""Which trial trained when, from the decisions of a sweep that pauses trials; and predictions against outcomes."""

from pathlib import Path

import numpy as np
import pytest

from sweeper.report.figures import allocation, prediction
from sweeper.report.paused import paused
from sweeper.results.decisions import Decision, Decisions
from tests.fakes.sweeps import Sweep
from tests.report.figures.looking import SHAPES, about, launched, look

CHANGES = {**SHAPES, "baselines": {}, "confirm": None, "budget": {"trials": 3}, "stop": "none"}
LOG = float(np.log(40.0))
DECISIONS = (
    Decision(100.0, "trains", 0, seeds=1),
    Decision(110.0, "seen", 0, 50, (5,), 1, (LOG, 0.5)),
    Decision(120.0, "seen", 0, 80, (8,), 1, (float(np.log(90.0)), 0.01)),
    Decision(120.0, "paused", 0, 80, seeds=1, expected=(LOG, 0.5)),
    Decision(120.0, "trains", 1, seeds=1),
    Decision(125.0, "seen", 1, 100, (10,), 1),
    Decision(130.0, "paused", 1, 100, seeds=1, expected=(float(np.log(2000.0)), 0.1)),
    Decision(130.0, "chosen", waiting=(0, 1), opened=2, chosen=0),
    Decision(130.0, "trains", 0, seeds=2),
    Decision(150.0, "over", 0),
    Decision(150.0, "trains", 2, seeds=1),
    Decision(160.0, "seen", 2, 20, (2,), 1),
    Decision(170.0, "trains", 2, 20, seeds=1),  # a launch was killed, and the next one goes on
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Finished trials, with decisions of which the last is the third one's second start."""
    sweep = launched(tmp_path_factory.mktemp("sweep"), CHANGES)
    space = (sweep.root / "space.yaml").read_text().replace('"stop": "none"', '"stop": "thaw"')
    for path in (sweep.root / "space.yaml", sweep.folder.space):
        path.write_text(space)
    for each in DECISIONS:
        Decisions(sweep.folder).append(each)
    assert Decisions(sweep.folder).read() == list(DECISIONS)
    return sweep


def test_slices_and_ends(sweep: Sweep) -> None:
    found = allocation.read(about(sweep))
    assert found is not None
    assert [
        (trial, [(each.time.tolist(), each.share.tolist(), each.first) for each in slices])
        for trial, slices in found.trials.items()
    ] == [
        (0, [([0, 10, 20, 20, 20], [0, 0.5, 0.8, 0.8, 0.8], True), ([30, 50], [0, 0], False)]),
        (1, [([20, 25, 30, 30], [0, 1, 1, 1], True)]),
        (2, [([50, 60, 60], [0, 0.2, 0.2], True), ([70, 70], [0.2, 0.2], True)]),
    ]
    assert found.ends == {0: ("finished", 50), 1: ("paused", 30), 2: ("trains", 70)}
    assert (found.pauses, found.whole) == (2, 70)


def test_predictions_of_what_has_finished(sweep: Sweep) -> None:
    """Trial 0 takes 20 and 30 steps, or 30 and 40."""
    found = prediction.read(about(sweep))
    assert found is not None
    runs = [row["sustained_steps"] for row in sweep.rows("runs") if row["trial"] == 0]
    assert found.trial.tolist() == [0, 0]
    assert found.share.tolist() == [0.5, 0.8]
    assert found.outcome.tolist() == pytest.approx([np.exp(np.mean(np.log(runs)))] * 2)
    assert found.time.tolist() == pytest.approx([40, 90])
    assert found.low[0] == pytest.approx(40 / np.exp(0.5 * 1.2816), rel=1e-4)
    assert found.inside.tolist() == [True, False]


@pytest.mark.slow
def test_what_is_drawn(sweep: Sweep) -> None:
    found, predictions = allocation.read(about(sweep)), prediction.read(about(sweep))
    assert found is not None and predictions is not None
    figure = look(allocation.draw(found), "first seed", "paused (1)", "finished (1)", "trial")
    assert figure.alt == "3 trials in 70 seconds: 1 finished, 1 paused; 2 times a trial waited and went on."
    figure = look(prediction.draw(predictions), "outcome, steps", "predicted steps")
    assert figure.alt == "2 predictions of 1 trial: the interval of 80 % holds 1 of 2 (9 to 91 %)."


@pytest.mark.slow
def test_other_sweeps_have_neither(sweep: Sweep, tmp_path: Path) -> None:
    other = launched(tmp_path, CHANGES)
    assert allocation.read(about(other)) is None and prediction.read(about(other)) is None
    assert paused(other.folder, about(other).spec) == []
