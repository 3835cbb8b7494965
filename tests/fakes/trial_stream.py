"""A sweep that does nothing but finish trials: `python -m tests.fakes.trial_stream ADDRESS FOLDER`."""

import sys
from pathlib import Path

from sweeper.folder.layout import SweepFolder, write_text
from sweeper.results.writer import Writer
from tests.fakes.mirrored import mirroring
from tests.fakes.studies import SMOOTH, opened
from tests.fakes.tables import MODULAR
from tests.fakes.written import PROVENANCE, put


def stream(address: str, folder: SweepFolder) -> None:
    """Open, put and tell until killed."""
    with mirroring(address, folder):
        write_text(folder.space, "name: stream\n")
        writer, study = Writer(folder, PROVENANCE, MODULAR), opened(folder.root, SMOOTH, "random")
        while (proposal := study.suggest()) is not None:
            study.tell(proposal.number, put(writer, proposal.number))


if __name__ == "__main__":
    stream(sys.argv[1], SweepFolder(Path(sys.argv[2])))
