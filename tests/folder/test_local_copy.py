"""Reading a sweep that is in a store: a copy of what changed, and hands off what a launch works on."""

import fcntl
import shutil

import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.folder.local_copy import local_folder
from sweeper.folder.object_store import Store
from tests.fakes.mirrored import SWEEP, brought, content, fill, is_released, mirroring
from tests.folder.conftest import Cable


def test_reading_copies_what_changed_and_no_checkpoints(address: str, here: SweepFolder) -> None:
    brought(address, here, SWEEP)
    read = local_folder(address)
    expected = {name: text for name, text in SWEEP.items() if not name.startswith(("checkpoints/", "models/"))}
    assert content(read) == expected
    kept = (read.root / "trials/part-00000.parquet").stat().st_ino
    brought(address, here, {"study.journal": "more"})
    assert content(local_folder(address)) == expected | {"study.journal": "more"}
    assert (read.root / "trials/part-00000.parquet").stat().st_ino == kept

    # Parameters are copied for those who load a model, and stay as they are for the others.
    whole = {name: text for name, text in SWEEP.items() if not name.startswith("checkpoints/")}
    assert content(local_folder(address, models=True)) == whole | {"study.journal": "more"}
    assert content(local_folder(address)) == whole | {"study.journal": "more"}

    # A launch that goes on in the folder that was read from has the checkpoints too.
    with mirroring(address, read):
        assert content(read) == SWEEP | {"study.journal": "more"}


def test_reading_leaves_the_folder_of_a_running_launch_alone(cable: Cable, address: str, here: SweepFolder) -> None:
    brought(address, here, SWEEP)
    folder = local_folder(address)
    fill(folder, {"study.journal": "as it runs"})
    cable.pull()
    with open(folder.lock, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert local_folder(address) == folder
    assert content(folder)["study.journal"] == "as it runs"


def test_reading_leaves_what_a_killed_launch_did_not_bring(address: str) -> None:
    folder = local_folder(address)
    assert not folder.root.exists()
    brought(address, folder, SWEEP)
    fill(folder, {"study.journal": "not brought"})
    assert content(local_folder(address)) == SWEEP | {"study.journal": "not brought"}


def test_a_path_is_read_where_it_is_and_a_wrong_uri_is_refused(here: SweepFolder) -> None:
    assert local_folder(str(here.root)) == here
    with pytest.raises(UserError, match="give a folder, or a URI that begins with s3:// or gs://"):
        local_folder("ftp://bucket/small")


def test_an_object_that_is_missing_is_named(address: str, store: Store, here: SweepFolder) -> None:
    brought(address, here, SWEEP)
    store.delete("trials/part-00000.parquet")
    shutil.rmtree(here.root)
    with pytest.raises(UserError, match="Path does not exist"):
        brought(address, here, {})
    assert is_released(store)
