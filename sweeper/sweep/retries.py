"""Which failures are not a trial's own doing, and how often it is started again after each.

| cause | how it is known | what is done |
|---|---|---|
| node lost | Ray lost the machine | again on another one, from its checkpoint; if it goes on, by the next launch |
| worker killed | the process died: a signal, a crash of native code | again, twice |
| out of host memory | Ray's memory monitor ended it | again, twice: those beside it may be gone by then |
| out of memory | the device's | on a share of a GPU again with twice that (`runners.capacity`); else failed |
| out of memory beside others | the device's, in an engine of several | again; that engine then holds half as many |
| error beside others | what a stack of several trials raised | again, once, each in a stack of its own |
| device failed | CUDA says that the device is broken | again in a new process; three in a row end the launch |
| unusable checkpoint | training cannot take up its state | again from the beginning |
| error | the training function raised | failed at once, with its traceback |
| a loss that is not finite | the curve | diverged, which is an outcome and no failure |
"""

from collections import Counter
from collections.abc import Sequence

from sweeper.stats.events import (
    BESIDE_OTHERS,
    CROWDED,
    DEVICE_FAILED,
    HOST_MEMORY,
    NODE_LOST,
    UNUSABLE_STATE,
    WORKER_KILLED,
    Ending,
)
from sweeper.trial import Alone

RETRIES = {
    NODE_LOST: 10,
    CROWDED: 10,
    WORKER_KILLED: 2,
    HOST_MEMORY: 2,
    DEVICE_FAILED: 2,
    BESIDE_OTHERS: 1,
    UNUSABLE_STATE: 1,
}
"""Cause -> how often a trial is started again after it."""

DEAD_DEVICE = 3
"""After this many failed devices in a row, with no trial that ended well in between, a launch gives up."""


def alone(retries: Sequence[str]) -> Alone | None:
    """What a trial that has been started again for those causes has to itself: it may be to blame, or another was."""
    counts = Counter(retries)
    if any(counts[why] >= RETRIES[why] for why in (WORKER_KILLED, HOST_MEMORY)):
        return "process"
    return "stack" if counts[BESIDE_OTHERS] else None


def is_retried(ending: Ending, retries: Sequence[str]) -> bool:
    """Whether a trial that ended so, after having been started again for those causes, is started once more."""
    return ending.kind == "failed" and Counter(retries)[ending.why] < RETRIES.get(ending.why, 0)
