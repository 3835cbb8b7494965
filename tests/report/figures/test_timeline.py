"""Trials over wall time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweeper.report.figures import timeline
from tests.fakes.sweeps import Sweep
from tests.fakes.tables import SCHEMAS
from tests.report.figures.looking import SHAPES, about, launched, look

TIMES = ((0, 100), (0, 40), (40, 90), (95, 180), (100, 120), (110, 115))
"""Seconds at which each trial began and ended."""


@pytest.fixture
def found(tmp_path: Path) -> timeline.Timeline:
    """A small sweep's, as if it had trained at these times."""
    sweep = launched(tmp_path, {**SHAPES, "baselines": {}, "confirm": None, "budget": {"trials": len(TIMES)}})
    _retime(sweep)
    read = timeline.read(about(sweep))
    assert read is not None
    return read


def _retime(sweep: Sweep) -> None:
    began = datetime(2026, 3, 1, tzinfo=UTC)
    rows = sweep.rows()
    for row, (start, end) in zip(rows, TIMES, strict=True):
        row |= {"started": began + timedelta(seconds=start), "finished": began + timedelta(seconds=end)}
    (part,) = sweep.folder.table("trials").glob("*.parquet")
    pq.write_table(pa.Table.from_pylist(rows, SCHEMAS["trials"]), part)


@pytest.mark.slow
def test_a_lane_for_each_trial_at_once(found: timeline.Timeline) -> None:
    assert found.trials == (0, 1, 2, 3, 4, 5)
    assert set(found.states) == {"finished"}
    assert list(zip(found.start, found.end, strict=True)) == list(TIMES)
    assert found.lanes.tolist() == [0, 1, 1, 1, 0, 2]
    at, count = found.busy
    assert (at.tolist(), count.tolist()) == (
        [0, 40, 90, 95, 100, 110, 115, 120, 180],
        [2, 2, 1, 2, 2, 3, 2, 1, 0],
    )
    assert found.average == pytest.approx((100 + 40 + 50 + 85 + 20 + 5) / 180)


@pytest.mark.slow
def test_averages_over_intervals(found: timeline.Timeline) -> None:
    assert found.over(np.array([0.0, 90.0, 100.0, 180.0])).tolist() == pytest.approx([2, 1.5, 105 / 80])


@pytest.mark.slow
def test_what_is_drawn(found: timeline.Timeline) -> None:
    figure = look(timeline.draw(found), "finished (6)", "lane", "at once", "minutes since the first trial began")
    assert figure.alt == "6 trials in 3 minutes: 6 finished. At once: 1.7 on average, at most 3."


@pytest.mark.slow
def test_thousands_of_trials_are_an_image(tmp_path: Path) -> None:
    count = 3000
    start = np.arange(count, dtype=np.float64)
    states = tuple("capped" if i % 3 else "finished" for i in range(count))
    many = timeline.Timeline(tuple(range(count)), states, start, start + 3.5, np.arange(count) % 4)
    figure = look(timeline.draw(many), "capped (2,000)", "finished (1,000)")
    assert "data:image/png" in figure.svg
    assert len(figure.svg) < 400_000
