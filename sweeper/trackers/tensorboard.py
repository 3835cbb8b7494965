"""TensorBoard: event files, one folder per trial, with its hyperparameters for the HPARAMS page."""

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from sweeper.trackers.protocol import Destination, FinishedTrial


def open_tracker(place: Destination) -> "TensorBoard":
    """Write below the place's folder: `tensorboard --logdir results/tensorboard`."""
    return TensorBoard(place)


class TensorBoard:
    """See `Tracker`."""

    def __init__(self, place: Destination):
        self._folder = place.folder / place.sweep

    def track(self, trial: FinishedTrial) -> None:
        """See `Tracker`."""
        about = {"phase": trial.phase, "name": trial.name, "state": trial.state}
        configuration = {key: _plain(value) for key, value in trial.configuration.items()}
        at = trial.finished.timestamp()
        with SummaryWriter(str(self._folder / trial.title)) as writer:
            for summary in hparams({**about, **configuration}, dict(trial.outcome)):
                writer.file_writer.add_summary(summary, walltime=at)
            for name, value in trial.outcome.items():
                writer.add_scalar(name, value, 0, at)
            for step, values in trial.points():
                for tag, value in values.items():
                    writer.add_scalar(tag, value, step, at)

    def close(self) -> None:
        """See `Tracker`."""


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str) else str(value)
