"""Train one configuration of a sweep again, alone: a sweep of its own with a single baseline."""

from typing import Any

from sweeper.config import loading
from sweeper.folder.layout import SweepFolder
from sweeper.report import lines
from sweeper.report.as_space import space_of
from sweeper.report.select import choose
from sweeper.sweep.launch import launch
from sweeper.sweep.options import DEFAULTS, LaunchOptions


def train(
    trial: str,
    replicates: int | None = None,
    tail: int | None = None,
    overrides: list[str] | None = None,
    options: LaunchOptions = DEFAULTS,
) -> SweepFolder:
    """Train a trial's configuration again, record everything, and keep the trained parameters where that is possible.

    The new sweep is named after the old one and the trial, lies beside it, and continues where it stopped. Replicate
    numbers, and so the seeds, begin at 0 as in the search.

    Args:
        trial: `SWEEP:TRIAL`; SWEEP alone is its best trial.
        replicates: seeds; by default as many as in the sweep.
        tail: updates that each run trains after its event; by default as in the sweep.
        overrides, options: as for `launch`.

    Returns:
        The new sweep's folder.

    Raises:
        UserError: there is no such trial; and as `launch` does.
    """
    chosen = choose(trial)
    document = space_of(chosen)
    objective: dict[str, Any] = document.data["objective"]
    changes = {"replicates": replicates, "tail": tail}
    document.data["objective"] = objective | {key: value for key, value in changes.items() if value is not None}
    if "keep" not in document.data and not loading.check(document).spec.task.unkeepable():
        document.data["keep"] = {"best": 1, "at": "end"}
    folder = launch(document, overrides, options)
    (name,) = document.data["baselines"]
    here = f"{chosen.label} of {chosen.sweep} is trial 0 here, the baseline {name}: sweeper show {folder.root}:{name}"
    lines.say(options.console or lines.LastingConsole(), here)
    return folder
