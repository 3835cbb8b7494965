"""The files of a small sweep, as they are mirrored to an object store."""

import json
from contextlib import AbstractContextManager

from sweeper.folder.layout import SweepFolder, write_text
from sweeper.folder.manifest import scan
from sweeper.folder.mirror import Mirror, Say, mirrored
from sweeper.folder.object_store import Store

Files = dict[str, str]

SWEEP: Files = {
    "checkpoints/trial-00000003.npz": "weights",
    "curves/part-00000.parquet": "curves",
    "models/trial-00000002.x_plus_y.0.safetensors": "parameters",
    "space.yaml": "name: small",
    "study.journal": "trial 0\n",
    "trials/part-00000.parquet": "trials",
}


def is_released(store: Store) -> bool:
    """Whether there is a lease that nobody holds."""
    return json.loads(store.read("launch.lease") or b"{}")["token"] == ""


def fill(folder: SweepFolder, files: Files) -> None:
    for name, text in files.items():
        write_text(folder.root / name, text)


def content(folder: SweepFolder) -> Files:
    return {name: (folder.root / name).read_text() for name in scan(folder.root)}


def mirroring(
    address: str, folder: SweepFolder, say: Say = print, notice: Say = print, stop: Say = print
) -> AbstractContextManager[Mirror | None]:
    """Run a launch whose results are mirrored."""
    return mirrored(address, folder, say, notice=notice, stop=stop)


def brought(address: str, folder: SweepFolder, files: Files) -> list[str]:
    """Run a launch that leaves these files, from its beginning to its end. Returns what it said."""
    said: list[str] = []
    with mirroring(address, folder, said.append):
        fill(folder, files)
    return said
