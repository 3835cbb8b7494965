"""Weights & Biases: a group a sweep, a run a trial. Offline, beside the sweep, unless the environment has a key.

Nothing but what a trial came to is recorded: no output of the terminal, no code, nothing of the machine.
"""

import netrc
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb  # it reads that when it is imported

from sweeper.trackers.protocol import Place, Trial

_SERVER = "https://api.wandb.ai"


def open_tracker(place: Place) -> "Wandb":
    """Write to the server where a key is known, else to offline runs below `wandb` beside the sweep."""
    return Wandb(place)


class Wandb:
    """See `Tracker`."""

    def __init__(self, place: Place):
        self._sweep = place.sweep
        self._folder = None if os.environ.get("WANDB_DIR") else str(place.folder.parent)
        self._offline = not (os.environ.get("WANDB_MODE") or _has_key())

    def track(self, trial: Trial) -> None:
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
        """See `Tracker`."""


def _has_key() -> bool:
    """Whether the library would find a key without asking for one on the terminal."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or _SERVER).hostname or ""
    with suppress(OSError, netrc.NetrcParseError):
        return host in netrc.netrc(os.environ.get("NETRC") or str(Path.home() / ".netrc")).hosts
    return False
