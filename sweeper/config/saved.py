"""Read the space.yaml saved in a sweep's folder, without importing the code of a user's own task."""

from sweeper.config.loading import check
from sweeper.config.model import SweepSpec
from sweeper.config.reader import read
from sweeper.environment import provenance
from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.tasks.registry import SavedTask, is_import_path

DESCRIPTION = "task"
"""Key of a launch's record: the description of a user's own task."""
REFERENCES = "references"
"""Key of a launch's record: values to compare results with (`sweeper.tasks.task.References`)."""


def reference_values(folder: SweepFolder, metric: str) -> dict[str, float]:
    """Values to compare a metric with, by name, such as that of a constant prediction; empty for most tasks.

    Raises:
        UserError: the record is damaged.
    """
    for launch in reversed(provenance.launches(folder)):
        recorded = launch.get(REFERENCES)
        if isinstance(recorded, dict):
            values = recorded.get(metric)
            return {str(name): float(value) for name, value in values.items()} if isinstance(values, dict) else {}
    return {}


def saved_spec(folder: SweepFolder) -> SweepSpec:
    """The sweep's space.yaml.

    Raises:
        UserError: it cannot be opened, or the description of a user's own task is damaged.
        SpecError: it has mistakes; lists all of them.
    """
    document = read(folder.space)
    section = document.data.get("task")
    if not (isinstance(section, dict) and isinstance(section.get("name"), str) and is_import_path(section["name"])):
        return check(document, samples=0).spec
    try:
        task = SavedTask.from_description(provenance.launches(folder)[-1][DESCRIPTION])
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder.provenance}: does not describe the task {section['name']} ({type(error).__name__}: {error}); "
            "put back the file that belongs to this sweep"
        ) from None
    return check(document, task, samples=0).spec
