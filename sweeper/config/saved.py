"""What a sweep's folder says it asked, for whoever reads its results: no code of a user's own task is needed or run."""

from sweeper.config.loading import check
from sweeper.config.model import SweepSpec
from sweeper.config.reader import read
from sweeper.environment import provenance
from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.tasks.registry import Remembered, is_own

DESCRIPTION = "task"
"""The key of a launch's record under which a user's own task is described."""
REFERENCES = "references"
"""The key under which a launch records what its results have to be seen beside."""


def references(folder: SweepFolder, metric: str) -> dict[str, float]:
    """What a metric has to be seen beside, by name, such as what a constant prediction reaches; empty for most tasks.

    Raises:
        UserError: the record is damaged.
    """
    for launch in reversed(provenance.launches(folder)):
        found = launch.get(REFERENCES)
        if isinstance(found, dict):
            mine = found.get(metric)
            return {str(name): float(value) for name, value in mine.items()} if isinstance(mine, dict) else {}
    return {}


def asked(folder: SweepFolder) -> SweepSpec:
    """The sweep's space.yaml.

    Raises:
        UserError: it cannot be opened, or what is written of a user's own task is damaged.
        SpecError: with every mistake in it.
    """
    document = read(folder.space)
    section = document.data.get("task")
    if not (isinstance(section, dict) and isinstance(section.get("name"), str) and is_own(section["name"])):
        return check(document).spec
    try:
        task = Remembered.of(provenance.launches(folder)[-1][DESCRIPTION])
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder.provenance}: does not describe the task {section['name']} ({type(error).__name__}: {error}); "
            "put back the file that belongs to this sweep"
        ) from None
    return check(document, task).spec
