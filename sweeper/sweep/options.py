"""How a launch runs: everything that is not in the space.yaml."""

from dataclasses import dataclass
from typing import Literal

from rich.console import Console

from sweeper.sweep.signals import Signals
from sweeper.trial import Train


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """The options of `launch` and `resume`.

    Attributes:
        where: `ray` runs many trials at once, `here` one after the other in this process.
        address: of a running Ray cluster; None starts Ray on this machine.
        insecure: whether to accept a cluster that takes commands from anybody who can reach it.
        accept_changes: whether to continue a sweep although its question or the code has changed.
        console: where progress and the leaderboard go; None is standard output.
        train: the training function; None is ours.
        signals: those that end the launch; None gives them their usual grace.
    """

    where: Literal["ray", "here"] = "ray"
    address: str | None = None
    insecure: bool = False
    accept_changes: bool = False
    console: Console | None = None
    train: Train | None = None
    signals: Signals | None = None


DEFAULTS = LaunchOptions()
