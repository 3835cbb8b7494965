"""Weights & Biases: one group per sweep, one run per trial; offline, beside the sweep, unless an API key is set.

Only results of trials are recorded: no terminal output, no code, no data about the machine.
"""

import netrc
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb  # reads that setting when it is imported

from sweeper.trackers.protocol import Destination, FinishedTrial

_SERVER = "https://api.wandb.ai"


def open_tracker(place: Destination) -> "Wandb":
    """Write to the server if an API key is set, otherwise to offline runs below `wandb` beside the sweep."""
    return Wandb(place)


class Wandb:
    """See `Tracker`."""

    def __init__(self, place: Destination):
        self._sweep = place.sweep
        self._folder = None if os.environ.get("WANDB_DIR") else str(place.folder.parent)
        self._offline = not (os.environ.get("WANDB_MODE") or _has_key())

    def track(self, trial: FinishedTrial) -> None:
        """See `Tracker`."""
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "sweeper",
            group=self._sweep,
            name=trial.title,
            job_type=trial.phase,
            config={"trial": trial.number, "name": trial.name, **trial.configuration},
            dir=self._folder,
            mode="offline" if self._offline else None,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )
        for step, values in trial.points():
            run.log(values, step=step)
        run.summary.update({**trial.outcome, "state": trial.state})
        run.finish(exit_code=int(trial.state == "failed"))

    def close(self) -> None:
        """See `Tracker`. A run's `finish` returns before an offline run is on the disk; this returns after that."""
        wandb.teardown()


def _has_key() -> bool:
    """Whether the library finds an API key without prompting for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or _SERVER).hostname or ""
    with suppress(OSError, netrc.NetrcParseError):
        return host in netrc.netrc(os.environ.get("NETRC") or str(Path.home() / ".netrc")).hosts
    return False
