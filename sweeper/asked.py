"""What a sweep's folder says it asked, for whoever reads its results: no code of a user's own task is needed or run."""

from sweeper import provenance
from sweeper.errors import UserError
from sweeper.paths import SweepFolder
from sweeper.spec.loading import check
from sweeper.spec.model import SweepSpec
from sweeper.spec.reader import read
from sweeper.tasks.named import Remembered, is_own

DESCRIPTION = "task"
"""The key of a launch's record under which a user's own task is described."""


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
