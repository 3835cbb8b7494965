"""When each trial trained, and how many did at once."""

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeper.errors import plural
from sweeper.report.figures import canvas
from sweeper.report.figures.canvas import Drawing
from sweeper.report.figures.subject import Subject
from sweeper.results.query import frame

_LOOKS = {
    "finished": (canvas.BLUE, None),
    "capped": (canvas.ORANGE, "////"),
    "lost": (canvas.GREEN, "...."),
    "pruned": (canvas.PURPLE, "xxxx"),
    "paused": (canvas.SKY, "\\\\\\\\"),
    "stopped": ("#BBBBBB", None),
    "failed": (canvas.BLACK, None),
}
"""State -> colour and hatch."""
_PLACES = 600
"""Changes above which the number of trials at once is averaged over as many intervals."""
_UNITS = ((3 * 86400.0, 86400.0, "days"), (3 * 3600.0, 3600.0, "hours"), (180.0, 60.0, "minutes"))


@dataclass(frozen=True)
class Timeline:
    """Trials over wall time.

    Attributes:
        trials: their numbers, in the order in which they began.
        states: of each.
        start, end: [trials], seconds since the first began.
        lanes: [trials], the lowest lane that was free.
    """

    trials: tuple[int, ...]
    states: tuple[str, ...]
    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    lanes: npt.NDArray[np.int64]

    @property
    def busy(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Times at which the number of trials at once changes, and the number from then on."""
        times = np.concatenate([self.start, self.end])
        changes = np.repeat([1, -1], len(self.start))
        at = np.unique(times)
        counts = np.zeros(len(at), dtype=np.int64)
        np.add.at(counts, np.searchsorted(at, times), changes)
        return at, counts.cumsum()

    def over(self, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """[edges - 1], how many trained at once on average between two times and the next."""
        at, count = self.busy
        trained = np.concatenate([[0.0], np.cumsum(count[:-1] * np.diff(at))])
        averages: npt.NDArray[np.float64] = np.diff(np.interp(edges, at, trained)) / np.diff(edges)
        return averages

    @property
    def average(self) -> float:
        """Trials at once, on average."""
        return float((self.end - self.start).sum() / max(self.end.max(), 1e-9))


def read(subject: Subject) -> Timeline | None:
    """Every trial, including confirmations and trials that were resumed."""
    rows = frame(
        subject.folder,
        """
        SELECT trial, state, epoch_us(started) / 1e6 AS started, epoch_us(finished) / 1e6 AS finished
        FROM trials WHERE started IS NOT NULL AND finished IS NOT NULL ORDER BY started, trial
        """,
    )
    if rows.empty:
        return None
    start = rows["started"].to_numpy(np.float64)
    end = np.maximum(rows["finished"].to_numpy(np.float64), start) - start[0]
    start = start - start[0]
    trials, states = tuple(map(int, rows["trial"])), tuple(map(str, rows["state"]))
    return Timeline(trials, states, start, end, _lanes(start, end))


def _lanes(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The lowest free lane for each trial, in the order of their starts."""
    lanes = np.zeros(len(start), dtype=np.int64)
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    for place, begins in enumerate(start):
        while busy and busy[0][0] <= begins:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lanes[place] = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end[place], int(lanes[place])))
    return lanes


@canvas.styled
def draw(found: Timeline) -> Drawing:
    """A lane a trial at once, and below how many lanes are in use."""
    whole = float(found.end.max()) or 1.0
    unit, name = next(((size, name) for least, size, name in _UNITS if whole >= least), (1.0, "seconds"))
    lanes = int(found.lanes.max()) + 1
    above = min(max(0.3 * lanes, 0.7), 4.0)
    sheet = canvas.sheet(above + 1.9)
    top, bottom = sheet.subplots(2, sharex=True, height_ratios=[above, 1.2])
    counts = {state: found.states.count(state) for state in _LOOKS if state in found.states}
    for state in counts:
        mine = np.array([each == state for each in found.states])
        start, end = found.start[mine] / unit, found.end[mine] / unit
        canvas.bars(top, start, found.lanes[mine], end - start, _LOOKS[state])
    handles = [canvas.box(*_LOOKS[state], f"{state} ({count:,})") for state, count in counts.items()]
    canvas.signs(sheet, handles)
    top.set(xlim=(0, whole / unit), ylim=(lanes, 0), ylabel="lane", yticks=[])
    top.grid(visible=False)
    at, count = found.busy
    highest = int(count.max())
    if len(at) > _PLACES:
        at = np.linspace(0, whole, _PLACES)
        count = np.append(over := found.over(at), over[-1])
    bottom.step(at / unit, count, where="post", color=canvas.BLACK, linewidth=1.0)
    bottom.fill_between(at / unit, count, step="post", color=canvas.SKY, alpha=0.4, linewidth=0)
    bottom.axhline(found.average, color=canvas.VERMILION, linestyle="--", linewidth=1.2)
    bottom.set(ylim=(0, 1.15 * lanes), xlabel=f"{name} since the first trial began", ylabel="at once")
    canvas.numbers(bottom.yaxis, most=4)
    canvas.numbers(bottom.xaxis)
    how = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    return Drawing(
        "timeline",
        "What trained when",
        "Above, every trial from its first start to its last news, in as many lanes as trained at once, confirmations "
        f"included. Below, trials at once; the dashed line is the average, {found.average:.1f}. A trial that was "
        "stopped and resumed by a later launch counts as training in between.",
        f"{plural(len(found.trials), 'trial')} in {canvas.plain(whole / unit)} {name}: {how}. At once: "
        f"{found.average:.1f} on average, at most {highest}.",
        sheet,
    )
