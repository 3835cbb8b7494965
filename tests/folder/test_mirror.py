"""The mirror on a real server: the store is the folder as it was at one instant, whatever dies when."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pyarrow.parquet as pq
import pytest

from benchmarks.paused import attempt
from sweeper.errors import StorageError, UserError
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.folder.lease import Lease
from sweeper.folder.local_copy import local_folder
from sweeper.folder.manifest import Manifest, scan
from sweeper.folder.mirror import Mirror
from sweeper.folder.object_store import Store
from tests.fakes.mirrored import SWEEP, Files, brought, content, fill, is_released, mirroring
from tests.fakes.studies import SMOOTH, opened
from tests.fakes.written import ROWS
from tests.folder.conftest import Cable


def objects(store: Store) -> Files:
    """What the store has where plain readers look, each object in one request."""
    names = [name for name in sorted(store.listing()) if name not in ("mirror.json", "launch.lease") and name[0] != "."]
    base, somebody = f"{os.environ['AWS_ENDPOINT_URL']}/{store.uri.removeprefix('s3://')}", "AWS nobody:nothing"
    found = {}
    for name in names:
        with (
            contextlib.suppress(HTTPError),
            urlopen(Request(f"{base}/{name}", headers={"Authorization": somebody})) as answer,
        ):
            found[name] = answer.read().decode()
    return found


def manifest(store: Store) -> Manifest:
    return Manifest.parse(store.read("mirror.json") or b"", "the store")


@contextlib.contextmanager
def opened_mirror(store: Store, folder: SweepFolder) -> Iterator[Mirror]:
    """A mirror whose pushes are ours to make."""
    lease = Lease(Store(store.uri), 1000.0)
    lease.take(folder, print)
    try:
        mirror = Mirror(store, folder, lease, lag=1000.0, notice=print, stop=print)
        mirror.restore(print)
        yield mirror
    finally:
        lease.release()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_path_has_no_mirror(here: SweepFolder) -> None:
    with mirroring(str(here.root), here) as mirror:
        assert mirror is None
    assert not here.root.exists()


def test_the_store_gets_what_is_new_and_what_changed_and_loses_what_went(store: Store, here: SweepFolder) -> None:
    fill(here, SWEEP | {"launch.lock": "", "trials/.part-00001.parquet.partial": "half"})
    with opened_mirror(store, here) as mirror:
        mirror.push()
        assert objects(store) == SWEEP
        fill(here, {"study.journal": "trial 0\ntrial 1\n", "pending/deep/er/1": "one"})
        (here.root / "checkpoints/trial-00000003.npz").unlink()
        mirror.push()
        changed = manifest(store)
        assert changed.staged == ("pending/deep/er/1", "study.journal")
        assert changed.removed == ("checkpoints/trial-00000003.npz",)
        assert objects(store) == content(here)
        mirror.push()
        assert manifest(store) == changed
    assert not list(here.root.rglob(".frozen*"))


def test_a_launch_keeps_the_store_up_to_date_while_it_runs(address: str, store: Store, here: SweepFolder) -> None:
    with mirroring(address, here):
        fill(here, SWEEP)
        wait_for(lambda: objects(store) == SWEEP)
        fill(here, {"study.journal": "more"})
        wait_for(lambda: objects(store) == SWEEP | {"study.journal": "more"})
        assert store.read("launch.lease") is not None
    assert is_released(store)


def test_the_heartbeat_of_a_sweep_is_there_once_the_sweep_can_be_found(
    address: str, store: Store, here: SweepFolder
) -> None:
    opening = {"study.journal": "trial 0\n"}
    brought(address, here, opening | {"status.json": "a heartbeat"})
    assert objects(store) == opening
    brought(address, here, SWEEP)
    assert objects(store).keys() == SWEEP.keys() | {"status.json"}


def test_another_machine_goes_on_from_what_the_store_has(
    address: str, store: Store, here: SweepFolder, elsewhere: SweepFolder
) -> None:
    assert brought(address, here, SWEEP) == []
    said = []
    with mirroring(address, elsewhere, said.append):
        assert scan(elsewhere.root) == scan(here.root)
        assert content(elsewhere) == SWEEP
        unchanged = manifest(store)
    assert manifest(store) == unchanged
    assert said == [f"downloading {address} to {elsewhere.root}"]

    # And the first, which has been overtaken since, goes on from there; what it did not bring away is given up.
    more = {"study.journal": "trial 0\ntrial 1\n", "trials/part-00001.parquet": "more"}
    brought(address, elsewhere, more)
    fill(here, {"runs/part-00000.parquet": "never brought", "study.journal": "something else"})
    with mirroring(address, here):
        assert content(here) == SWEEP | more


def test_what_a_killed_launch_did_not_bring_is_kept_and_brought(
    address: str, store: Store, here: SweepFolder, elsewhere: SweepFolder
) -> None:
    brought(address, here, SWEEP)
    more = {"study.journal": "trial 0\ntrial 1\n", "trials/part-00001.parquet": "more"}
    fill(here, more)
    assert brought(address, here, {}) == []
    assert content(here) == objects(store) == SWEEP | more

    # Also when it had begun to bring it: its own record is then ahead of the store's.
    ahead = manifest(store)
    write_text(here.root / "mirror.json", Manifest(ahead.generation + 1, "token", ahead.files).text())
    fill(here, {"runs/part-00000.parquet": "runs"})
    brought(address, here, {})
    assert objects(store) == SWEEP | more | {"runs/part-00000.parquet": "runs"}


def test_a_store_that_was_emptied_is_filled_again(address: str, store: Store, here: SweepFolder) -> None:
    brought(address, here, SWEEP)
    store.delete_folder("")
    assert brought(address, here, {}) == [f"{address} does not have this sweep; uploading it from {here.root}"]
    assert objects(store) == SWEEP


def test_a_sweep_that_was_copied_to_the_store_by_other_means_is_taken_as_it_is(
    address: str, store: Store, here: SweepFolder, elsewhere: SweepFolder
) -> None:
    fill(elsewhere, SWEEP)
    for name in SWEEP:
        store.upload(elsewhere.root / name, name)
    with mirroring(address, here):
        assert content(here) == SWEEP
        fill(here, {"study.journal": "more"})
    assert objects(store) == SWEEP | {"study.journal": "more"}
    assert manifest(store).staged == ("study.journal",)


class Dying(Store):
    """A store whose user dies after some requests that change something."""

    left = sys.maxsize

    def _request(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def replace(self, name: str, content: bytes, version: str | None) -> None:
        self._request()
        super().replace(name, content, version)

    def upload(self, file: Path, name: str) -> None:
        self._request()
        super().upload(file, name)

    def copy(self, source: str, target: str) -> None:
        self._request()
        super().copy(source, target)

    def delete(self, name: str) -> None:
        self._request()
        super().delete(name)

    def delete_folder(self, name: str) -> None:
        self._request()
        super().delete_folder(name)


def state(number: int) -> Files:
    """A sweep whose files are all replaced from one state to the next, one new, one gone."""
    names = ["study.journal", "trials/part-00000.parquet", f"pending/{number}"]
    return dict.fromkeys(names, f"state {number}")


def test_wherever_a_push_dies_the_store_goes_back_to_one_instant(
    address: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(address, SweepFolder(tmp_path / "first"), state(0))
    current, died = 0, 0
    for requests in range(100):
        head = SweepFolder(tmp_path / f"head-{requests}")
        with contextlib.suppress(KeyboardInterrupt), opened_mirror(dying := Dying(address), head) as mirror:
            assert content(head) == state(current), "what a launch goes on from"
            (head.root / f"pending/{current}").unlink()
            fill(head, state(current + 1))
            dying.left = requests
            mirror.push()
        monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / f"reader-{requests}"))
        read = content(local_folder(address))
        current = current + (f"pending/{current + 1}" in manifest(store).files)
        assert read == state(current)
        if dying.left >= 0:
            break
        died += 1
    assert died == 3 + 1 + 3 + 1 + 1, "uploads, the manifest, copies, a deletion, and tidying up"
    assert objects(store) == state(current)


@pytest.mark.long
@pytest.mark.slow
def test_at_any_moment_of_a_sweep_the_store_goes_back_to_what_a_launch_may_go_on_from(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables know every trial that the journal calls finished, and the journal every trial that tables have."""
    monkeypatch.setenv("SWEEPER_LAG", "0.01")
    command = [sys.executable, "-m", "tests.fakes.trial_stream", address, str(tmp_path / "head")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    chance, finished, between = random.Random(0), [], 0
    try:
        wait_for(lambda: "trials/part-00000.parquet" in Store(address).listing())
        deadline = time.monotonic() + 100
        while len(finished) < 6 or len(set(finished)) < 3 or not between:
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(chance.uniform(0, 0.3))
            os.kill(process.pid, signal.SIGSTOP)
            try:
                between += bool(Store(address).listing(".staging"))
                monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / f"look-{len(finished)}"))
                folder = local_folder(address)
            finally:
                os.kill(process.pid, signal.SIGCONT)
            tables = {
                name: Counter(pq.read_table(folder.table(name))["trial"].to_pylist()) for name in ("runs", "curves")
            }
            rows = pq.read_table(folder.table("trials"))["trial"].to_pylist()
            assert {name: {trial: found[trial] for trial in rows} for name, found in tables.items()} == {
                name: dict.fromkeys(rows, ROWS[name]) for name in tables
            }
            study = opened(folder.root, SMOOTH)
            told = study.values().keys()
            # Trials that the next launch folds into the tables count as being there.
            written = {*rows, *(int(path.stem.removeprefix("trial-")) for path in folder.pending.glob("*.arrow"))}
            assert told <= written <= set(range(study.trials))
            assert len(written - told) <= 1
            finished.append(len(rows))
    finally:
        process.kill()
        process.wait()
    assert finished == sorted(finished)


def test_a_store_that_is_away_for_a_while_is_said_once_and_caught_up_with(
    cable: Cable, address: str, store: Store, here: SweepFolder
) -> None:
    notices: list[str] = []
    with mirroring(address, here, notice=notices.append, stop=pytest.fail):
        fill(here, SWEEP)
        wait_for(lambda: objects(store) == SWEEP)
        cable.pull()
        fill(here, {"study.journal": "while it was away"})
        wait_for(lambda: notices)
        fill(here, {"study.journal": "still away"})
        cable.plug()
        wait_for(lambda: objects(store) == SWEEP | {"study.journal": "still away"})
        wait_for(lambda: len(notices) == 2)
    assert notices[0].startswith(f"{address} cannot be updated (")
    assert notices[0].endswith(f"); retrying; {here.root} has everything")
    assert notices[1] == f"{address} is up to date again"


def test_a_store_that_is_away_at_the_end_is_an_error_that_names_the_folder(
    cable: Cable, address: str, store: Store, here: SweepFolder
) -> None:
    with pytest.raises(StorageError) as raised:  # noqa: PT012, SIM117  # it is raised at the end
        with mirroring(address, here):
            fill(here, SWEEP)
            cable.pull()
    said = str(raised.value)
    assert said.startswith(f"{address}: the last results could not be uploaded (")
    assert said.endswith(f"). {here.root} has all of them; the same command on this machine uploads them and continues")
    assert raised.value.exit_code == 1
    assert content(here) == SWEEP
    cable.plug()
    brought(address, here, {})
    assert objects(store) == SWEEP


def test_an_error_of_the_sweep_is_not_hidden_by_one_of_the_store(cable: Cable, address: str, here: SweepFolder) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117  # here too
        with mirroring(address, here):
            fill(here, SWEEP)
            cable.pull()
            raise ZeroDivisionError


def test_a_launch_whose_sweep_another_took_over_ends_and_brings_no_more(
    address: str, store: Store, here: SweepFolder
) -> None:
    stopped: list[str] = []
    with pytest.raises(StorageError) as raised:  # noqa: PT012, SIM117  # and here
        with mirroring(address, here, notice=pytest.fail, stop=stopped.append):
            fill(here, SWEEP)
            wait_for(lambda: objects(store) == SWEEP)

            def another_takes_it() -> bool:  # again, where the holder wrote its own in the same moment
                store.write("launch.lease", b'{"host": "b", "pid": 7, "token": "x", "beat": 0, "every": 5.0}')
                return bool(stopped)

            wait_for(another_takes_it)
            fill(here, {"study.journal": "for nothing"})
    assert stopped == [str(raised.value)]
    assert stopped[0].startswith(f"{address}: a launch on b (process 7) took this sweep over")
    assert objects(store) == SWEEP


def test_a_store_that_somebody_empties_is_filled_again(address: str, store: Store, here: SweepFolder) -> None:
    with opened_mirror(store, here) as mirror:
        fill(here, SWEEP)
        mirror.push()
        store.delete_folder("")
        fill(here, {"study.journal": "more"})
        with pytest.raises(OSError, match=r"mirror.json is missing; everything is uploaded again"):
            mirror.push()
        mirror.push()
        assert objects(store) == SWEEP | {"study.journal": "more"}
        assert manifest(store).generation == 3


def test_a_launch_that_slept_through_being_overtaken_brings_nothing(
    address: str, store: Store, here: SweepFolder, elsewhere: SweepFolder
) -> None:
    with opened_mirror(store, here) as mirror:
        fill(here, SWEEP)
        mirror.push()
        slept = store.read("launch.lease") or b""
        store.delete("launch.lease")
        brought(address, elsewhere, {"study.journal": "of another"})
        store.write("launch.lease", slept)
        fill(here, {"study.journal": "for nothing"})
        with pytest.raises(StorageError) as raised:
            mirror.push()
    assert str(raised.value).startswith(f"{address}: another launch took this sweep over")
    assert objects(store) == SWEEP | {"study.journal": "of another"}


@pytest.mark.parametrize("lag", ["soon", "0", "-1", "inf"])
def test_a_lag_that_is_no_number_of_seconds_is_refused(
    address: str, here: SweepFolder, lag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_LAG", lag)
    with pytest.raises(UserError) as raised:
        brought(address, here, {})
    assert str(raised.value) == f"SWEEPER_LAG: got {lag!r}; it must be a number of seconds, more than 0"


class Pausing(Store):
    """A store whose user is suspended before it writes an object, while another launch takes the sweep over."""

    def __init__(self, address: str, takes_over: Callable[[], object]):
        super().__init__(address)
        self.before, self._takes_over = "", takes_over

    def replace(self, name: str, content: bytes, version: str | None) -> None:
        self._pause(name)
        super().replace(name, content, version)

    def upload(self, path: Path, name: str) -> None:
        self._pause(Path(name).name)
        super().upload(path, name)

    def _pause(self, name: str) -> None:
        if name == self.before:
            self.before = ""
            self._takes_over()


@pytest.mark.parametrize("changes", [{}, {"study.journal": "of another"}])
@pytest.mark.parametrize("before", ["mirror.json", "study.journal"])
def test_a_launch_suspended_before_it_uploads_or_commits_finds_the_manifest_changed_and_leaves_nothing(  # noqa: PLR0917  # fixtures
    address: str, here: SweepFolder, elsewhere: SweepFolder, store: Store, changes: Files, before: str
) -> None:
    def takes_over() -> None:
        store.delete("launch.lease")  # as one that has waited for the lease
        brought(address, elsewhere, changes)

    with opened_mirror(pausing := Pausing(address, takes_over), here) as mirror:
        fill(here, SWEEP)
        mirror.push()
        fill(here, {"study.journal": "for nothing"})
        pausing.before = before
        with pytest.raises(StorageError, match="took this sweep over"):
            mirror.push()
    assert objects(store) == SWEEP | changes
    assert not store.listing(".staging"), "what was on its way is gone"


def test_a_launch_that_has_not_renewed_its_lease_reads_it_before_every_write(
    address: str, here: SweepFolder, store: Store, tmp_path: Path
) -> None:
    lease = Lease(store, 0.05)
    guarded = store.guarded(lease.guard)
    guarded.write("status.json", b"{}")
    (tmp_path / "file").write_text("late")
    store.write("launch.lease", b'{"host": "b", "pid": 7, "token": "x", "beat": 0, "every": 5.0}')
    time.sleep(0.2)
    before = store.listing()
    for write in (
        lambda: guarded.write("status.json", b"[]"),
        lambda: guarded.replace("mirror.json", b"[]", None),
        lambda: guarded.upload(tmp_path / "file", "late"),
        lambda: guarded.copy("status.json", "late"),
        lambda: guarded.delete("status.json"),
        lambda: guarded.delete_folder(""),
    ):
        with pytest.raises(StorageError, match=r"a launch on b \(process 7\) took this sweep over"):
            write()
    assert store.listing() == before


@pytest.mark.long
@pytest.mark.slow
def test_a_launch_that_was_stopped_for_longer_than_its_lease_writes_nothing_more(s3_server: str) -> None:
    assert attempt(s3_server, 0, random.Random(1)).wrong == []
