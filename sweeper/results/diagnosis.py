"""Diagnosis of a whole learning curve: the kind of learning, spikes, falls, and inversions.

The labels are the phases of Liu et al., "Towards understanding grokking", 2022, arXiv:2205.10343, with `collapse` for
a run that reached the threshold and lost it. They follow from when the event's metric and its twin in training
(`train_loss` is the twin of `val_loss`) were first past the event's threshold, once being enough:

| validation | training | label |
|---|---|---|
| past it, and not at the end | | collapse |
| past it, at over `GROKKING_RATIO` times training's step | past it | grokking |
| past it otherwise | | comprehension |
| never | past it | memorisation |
| never | never | confusion |

"Not at the end" has a margin: where high is good (accuracy, R2) the last value is more than `FALL` below the
threshold, where low is good (a loss) it is more than the share `EXCESS` of the threshold above it.

An inversion is what one published experiment called grokking: validation loss drops at one point *while training loss
rises*. By the standard definition (training near zero before validation drops) that alone is not grokking, and
`explanations` names what else it could be.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from sweeper.stats.events import Event

Label = Literal["comprehension", "grokking", "memorisation", "confusion", "collapse"]
Explanation = Literal["memorised", "group means", "slingshot", "clamped"]
Floats = npt.NDArray[np.float64]
Curve = Mapping[str, npt.NDArray[Any]]
"""One run's columns, one entry an evaluation."""

GROKKING_RATIO = 2.0
"""Validation passes the threshold at over this many times the step at which training did: grokking."""
FALL = 0.05
"""A metric that should be high and ends this much below the threshold that it had passed has fallen back."""
EXCESS = 0.05
"""A loss that ends above the threshold that it had passed by more than this share of it has fallen back."""
_SPIKE, _WINDOW = 5.0, 25

DROP = 0.25
"""An inversion: validation loss falls by at least this share of itself ..."""
RISE = 0.10
"""... while training loss rises by at least this share of itself ..."""
LENGTH = 25
"""... within this many evaluations."""
SMOOTHING = 11
"""Losses are medians over this many evaluations: a spike of up to five is not seen."""
FEWEST = 60
"""With fewer evaluations the usual variation of the losses is unknown: no inversion is reported."""
_DEVIATIONS = 5.0
"""Both changes are also at least this many standard deviations of what the smoothed losses do anyway."""
_NOTHING = 0.01
"""A training loss below this share of the validation loss counts as that much: its variation carries no information."""
_NEARLY = 0.9
"""Windows whose drop is this share of the largest are as good; the shortest of them locates it best."""

LEVEL = 0.1
"""R2 within groups this near to 0 is the group means' predictor."""
JUMP = 1.05
"""The last layer's norm grows or shrinks by more than this factor: a slingshot (Thilak et al. 2022,
arXiv:2206.04817)."""
CLAMPED = 0.1
"""A change of the share of clamped outputs by more than this could itself have moved the loss."""


@dataclass(frozen=True)
class Learning:
    """Diagnosis of a curve for an event.

    Attributes:
        train_step, val_step: steps of the first evaluations past the threshold, sustained or not.
        fell_back: whether validation was past it and did not end there.
        label: the kind of learning; None where training has no twin of the metric.
    """

    train_step: int | None
    val_step: int | None
    fell_back: bool
    label: Label | None


@dataclass(frozen=True)
class Inversion:
    """Validation loss fell while training loss rose: steps of the two evaluations, and smoothed losses at them."""

    start: int
    end: int
    val_before: float
    val_after: float
    train_before: float
    train_after: float


def learning(curve: Curve, event: Event) -> Learning:
    """The kind of learning that a run's curve shows, for any metric and direction."""
    twin = event.metric.replace("val_", "train_", 1)
    known = twin != event.metric and twin in curve
    val_step = _first(curve, event, event.metric)
    train_step = _first(curve, event, twin) if known else None
    back = fell_back(curve[event.metric].astype(np.float64), event)
    return Learning(train_step, val_step, back, label_of(train_step, val_step, back) if known else None)


def _first(curve: Curve, event: Event, metric: str) -> int | None:
    past = np.flatnonzero(event.holds(curve[metric]))
    return int(curve["step"][past[0]]) if len(past) else None


def label_of(train_step: int | None, val_step: int | None, fell_back: bool) -> Label:
    """The kind of learning, from the steps at which training and validation were first past the threshold."""
    if val_step is not None:
        if fell_back:
            return "collapse"
        late = train_step is not None and val_step > GROKKING_RATIO * train_step
        return "grokking" if late else "comprehension"
    return "memorisation" if train_step is not None else "confusion"


def fell_back(values: Floats, event: Event) -> bool:
    """Whether a metric was past the event's threshold once and ended short of it, by more than the margin."""
    if not event.holds(values).any():
        return False
    if event.comparison == ">":
        return bool(values[-1] < event.threshold - FALL)
    return bool(values[-1] > event.threshold + EXCESS * abs(event.threshold))


def spikes(train_loss: Floats) -> int:
    """How many times the loss rose above five times the running median of the 25 evaluations before."""
    return int(np.sum(np.diff(np.array([False, *_spiking(train_loss)]).astype(int)) == 1))


def _spiking(loss: Floats) -> npt.NDArray[np.bool_]:
    """Whether each evaluation is above five times the median of the 25 before; the first 25 never are."""
    return np.array(
        [i >= _WINDOW and bool(value > _SPIKE * np.median(loss[i - _WINDOW : i])) for i, value in enumerate(loss)],
        dtype=np.bool_,
    )


def inversion(curve: Curve) -> Inversion | None:
    """The largest drop of validation loss, in log terms, during which training loss rose; None where there is none.

    Evaluations without two finite losses are left out. See `DROP`, `RISE`, `LENGTH` and `SMOOTHING` for the thresholds.

    Args:
        curve: with `step`, `val_loss` and `train_loss`; losses at least 0.
    """
    finite = np.isfinite(curve["val_loss"]) & np.isfinite(curve["train_loss"])
    steps, raw_val, raw_train = (curve[name][finite] for name in ("step", "val_loss", "train_loss"))
    if len(steps) < FEWEST:
        return None
    val, train = _smooth(raw_val), _smooth(raw_train)
    middle = steps[SMOOTHING // 2 :][: len(val)]
    v, t = _log(val), _log(np.maximum(train, _NOTHING * val))
    least_drop = max(-np.log(1 - DROP), _DEVIATIONS * _usual(v))
    least_rise = max(np.log(1 + RISE), _DEVIATIONS * _usual(t))
    # Row by row longer windows, column by column later ones.
    drops = np.zeros((LENGTH + 1, len(v)))
    for length in range(1, LENGTH + 1):
        drop, rise = v[:-length] - v[length:], t[length:] - t[:-length]
        drops[length, :-length] = np.where((drop > least_drop) & (rise > least_rise), drop, 0)
    if not drops.any():
        return None
    length, i = divmod(int(np.argmax(drops >= _NEARLY * drops.max())), len(v))
    j = i + length
    return Inversion(int(middle[i]), int(middle[j]), *(float(x[at]) for x in (val, train) for at in (i, j)))


def _smooth(values: npt.NDArray[Any]) -> Floats:
    """Running median over whole windows of `SMOOTHING` evaluations: as many fewer values, but for one."""
    windows = np.lib.stride_tricks.sliding_window_view(values.astype(np.float64), SMOOTHING)
    medians: Floats = np.median(windows, axis=-1)
    return medians


def _log(values: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(values, np.finfo(np.float64).tiny))
    return logs


def _usual(logs: Floats) -> float:
    """How much two smoothed logarithms differ that share no evaluation, as a standard deviation.

    From the median of the changes' distances to their own median, so that a few inversions do not count. Slow noise,
    which smoothing leaves in, does.
    """
    changes = logs[SMOOTHING:] - logs[:-SMOOTHING]
    return float(np.median(np.abs(changes - np.median(changes))) / 0.6745)


def explanations(curve: Curve, found: Inversion, near_zero: float) -> tuple[Explanation, ...]:
    """Possible explanations of the inversion, in the order of `Explanation`; none, one or several.

    A check whose column is missing does not apply. "Around" is from five evaluations before its start to five after its
    end: smoothing may have moved it by as many.

    | word | holds where |
    |---|---|
    | memorised | training loss was below `near_zero` before: grokking by the standard definition |
    | group means | `val_r2_within` afterwards is within `LEVEL` of 0: the network predicts its group's mean |
    | slingshot | around it, `last_layer_norm` varies by more than the factor `JUMP`, or training loss spikes |
    | clamped | the share of outputs in `val_clamped` afterwards is more than `CLAMPED` away from the one before |

    Before and afterwards are medians over the 11 evaluations that end at its start, and that begin at its end.

    Args:
        curve: the run's.
        found: its inversion.
        near_zero: the training loss that counts as memorised.
    """
    steps, half = curve["step"], SMOOTHING // 2
    start, end = (int(np.searchsorted(steps, step)) for step in (found.start, found.end))
    before, after = slice(max(start - SMOOTHING + 1, 0), start + 1), slice(end, end + SMOOTHING)
    around = slice(max(start - half, 0), end + half + 1)

    def median(name: str, where: slice) -> float:
        """NaN without the column: no comparison holds."""
        return float(np.median(curve[name][where])) if name in curve else np.nan

    norms = curve.get("last_layer_norm", np.ones(len(steps)))[around]
    holds: dict[Explanation, bool] = {
        "memorised": found.train_before < near_zero,
        "group means": abs(median("val_r2_within", after)) <= LEVEL,
        "slingshot": bool(norms.max() > JUMP * norms.min() or _spiking(curve["train_loss"])[around].any()),
        "clamped": abs(median("val_clamped", after) - median("val_clamped", before)) > CLAMPED,
    }
    return tuple(word for word in get_args(Explanation) if holds[word])
