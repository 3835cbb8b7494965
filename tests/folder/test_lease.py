"""The lease on a real server: one holder at a time, and a dead one does not hold for ever."""

import json
import os
import platform
import time
from pathlib import Path

import pytest

from sweeper.errors import StorageError, UserError
from sweeper.folder.conditional import ChangedError
from sweeper.folder.layout import SweepFolder
from sweeper.folder.lease import Lease
from sweeper.folder.object_store import Store
from tests.fakes.mirrored import is_released

EVERY = 0.2


@pytest.fixture
def machines(tmp_path: Path) -> list[SweepFolder]:
    return [SweepFolder(tmp_path / name) for name in "ab"]


def claim(store: Store) -> dict[str, object]:
    content = store.read("launch.lease")
    assert content is not None
    found: dict[str, object] = json.loads(content)
    return found


def dead(store: Store, folder: SweepFolder, **other: object) -> None:
    """Leave a lease behind as a launch that was killed does."""
    token = "0123456789abcdef"
    folder.root.mkdir()
    (folder.root / ".lease").write_text(token)
    left = {"host": "elsewhere", "pid": 7, "token": token, "beat": 3, "every": EVERY} | other
    store.write("launch.lease", json.dumps(left).encode())


def test_a_held_lease_says_who_holds_it_and_counts(store: Store, machines: list[SweepFolder]) -> None:
    lease, said = Lease(store, EVERY), list[str]()
    lease.take(machines[0], said.append)
    try:
        first = claim(store)
        assert first == {
            "host": platform.node(),
            "pid": os.getpid(),
            "token": lease.token,
            "beat": first["beat"],
            "every": EVERY,
        }
        deadline = time.monotonic() + 30
        while claim(store)["beat"] == first["beat"]:
            assert time.monotonic() < deadline, "waited too long"
        lease.confirm()
    finally:
        lease.release()
    assert is_released(store)
    assert said == []


def test_while_it_is_held_no_other_launch_gets_it(store: Store, machines: list[SweepFolder]) -> None:
    lease = Lease(store, EVERY)
    lease.take(machines[0], print)
    try:
        with pytest.raises(UserError) as raised:
            Lease(store, EVERY).take(machines[1], print)
        lease.confirm()
    finally:
        lease.release()
    holder = f"a launch on {platform.node()} (process {os.getpid()})"
    assert str(raised.value) == f"{store.uri}: {holder} is running this sweep; wait for it, or change name"


def test_a_lease_that_does_not_count_is_taken_over(store: Store, machines: list[SweepFolder]) -> None:
    dead(store, machines[0])
    lease, said = Lease(store, EVERY), list[str]()
    lease.take(machines[1], said.append)
    lease.release()
    assert said == ["taking over from a launch on elsewhere (process 7), which has not responded for 0.7 s"]


def test_a_lease_of_this_folders_own_dead_launch_is_taken_at_once(store: Store, machines: list[SweepFolder]) -> None:
    dead(store, machines[0], every=1000.0)
    lease, said = Lease(store, EVERY), list[str]()
    lease.take(machines[0], said.append)
    lease.release()
    assert said == []


def test_a_lease_in_another_form_is_outlasted_too(store: Store, machines: list[SweepFolder]) -> None:
    store.write("launch.lease", b'{"holder": "a later version"}')
    lease, said = Lease(store, EVERY), list[str]()
    lease.take(machines[0], said.append)
    lease.release()
    assert said == ["taking over from a launch on an unknown machine (process 0), which has not responded for 0.7 s"]


def test_who_lost_it_is_told_and_does_not_take_it_back(store: Store, machines: list[SweepFolder]) -> None:
    sleeper = Lease(store, 1000.0)
    sleeper.take(machines[0], print)
    dead(store, machines[1])
    with pytest.raises(StorageError) as raised:
        sleeper.confirm()
    words = (
        f"{store.uri}: a launch on elsewhere (process 7) took this sweep over, because this launch did not respond for "
        "a while; this launch ends, and its later results are discarded"
    )
    assert (str(raised.value), sleeper.lost) == (words, words)
    sleeper.release()
    assert claim(store)["pid"] == 7


def test_a_lease_that_somebody_deleted_is_still_ours(store: Store, machines: list[SweepFolder]) -> None:
    lease = Lease(store, EVERY)
    lease.take(machines[0], print)
    try:
        store.delete("launch.lease")
        lease.confirm()
        deadline = time.monotonic() + 30
        while store.read("launch.lease") is None:
            assert time.monotonic() < deadline, "waited too long"
        assert claim(store)["token"] == lease.token
    finally:
        lease.release()


def test_a_launch_suspended_before_it_renews_the_lease_does_not_write_over_anothers(store: Store) -> None:
    store.write("launch.lease", b'{"beat": 1}')
    _, version = store.read_version("launch.lease")
    store.replace("launch.lease", b'{"beat": 2}', version)
    with pytest.raises(ChangedError):
        store.replace("launch.lease", b'{"beat": 3}', version)
    with pytest.raises(ChangedError):
        store.replace("launch.lease", b'{"beat": 3}', None)
    assert claim(store) == {"beat": 2}


def test_credentials_of_a_profile_are_pyarrows_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = tmp_path / "credentials"
    keys.write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    monkeypatch.setenv("AWS_PROFILE", "default")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    of_a_profile = Store(store.uri)
    of_a_profile.replace("launch.lease", b"{}", None)
    assert of_a_profile.read_version("launch.lease") == (b"{}".ljust(1024), None)
    of_a_profile.replace("launch.lease", b"[]", None)
