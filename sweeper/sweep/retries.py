"""Failures that a trial did not cause, and how often it is restarted after each.

| cause | how it is known | what is done |
|---|---|---|
| node lost | Ray lost the machine | restarted on another one, from its checkpoint; after 10 times, by the next launch |
| worker killed | the process died: a signal, a crash of native code | restarted, twice |
| out of host memory | Ray's memory monitor ended it | restarted, twice: other trials may have ended by then |
| out of memory | the device's | on a share of a GPU restarted with twice that (`runners.capacity`); else failed |
| out of memory beside others | the device's, in an engine of several | restarted; the engine then holds half as many |
| error beside others | a stack of several trials raised it | restarted, once, each in a stack of its own |
| device failed | an error of CUDA about the device | restarted in a new process; three in a row end the launch |
| unusable checkpoint | training cannot resume from its state | restarted from the beginning |
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
"""Cause -> how often a launch restarts a trial after it."""

DEAD_DEVICE = 3
"""After so many failed devices in a row, with no trial in between that ended well, a launch ends."""


def alone(retries: Sequence[str]) -> Alone | None:
    """What a trial that has been started again for those causes has to itself: it may be to blame, or another was."""
    counts = Counter(retries)
    if any(counts[why] >= RETRIES[why] for why in (WORKER_KILLED, HOST_MEMORY)):
        return "process"
    return "stack" if counts[BESIDE_OTHERS] else None


def is_retried(ending: Ending, retries: Sequence[str]) -> bool:
    """Whether a trial is restarted.

    Args:
        ending: how it ended.
        retries: the causes of its restarts by this launch; earlier launches may have lost it with themselves.
    """
    return ending.kind == "failed" and Counter(retries)[ending.why] < RETRIES.get(ending.why, 0)
