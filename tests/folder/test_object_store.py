"""The store on a real server: whole objects, and what is not there."""

import json
import threading
from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.folder.local_copy import local_folder
from sweeper.folder.object_store import ERRORS, Store, reason
from tests.folder.conftest import Cable


def test_objects_are_written_read_copied_listed_and_deleted(bucket: str, tmp_path: Path) -> None:
    store = Store(f"{bucket}/deep/er")
    large = bytes(range(256)) * 50_000
    (tmp_path / "large").write_bytes(large)
    store.upload(tmp_path / "large", "curves/large")
    store.write("small", b"[1]")
    store.write("small", b"[1, 2]")
    store.copy("curves/large", "trials/copy")
    store.download("trials/copy", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large
    assert store.read("small") == b"[1, 2]".ljust(1024)
    assert {name: size for name, (size, _) in store.listing().items()} == {
        "curves/large": len(large),
        "small": 1024,
        "trials/copy": len(large),
    }
    store.delete("curves/large")
    store.delete_folder("trials")
    assert list(store.listing()) == ["small"]


def test_what_is_not_there_reads_as_nothing_and_is_deleted_without_a_word(bucket: str, tmp_path: Path) -> None:
    store = Store(bucket)
    assert store.read("nothing") is None
    assert store.listing("nothing") == {}
    store.delete("nothing")
    store.delete_folder("nothing")
    with pytest.raises(FileNotFoundError):
        store.download("nothing", tmp_path / "back")
    with pytest.raises(ERRORS, match="NO_SUCH_KEY"):
        store.copy("nothing", "something")


def test_an_object_that_is_replaced_by_others_of_other_sizes_is_read_whole(bucket: str) -> None:
    store, done, sizes = Store(bucket), threading.Event(), (1, 900)
    store.write("changing", json.dumps("x").encode())

    def write() -> None:
        while not done.is_set():
            for size in sizes:
                store.write("changing", json.dumps("x" * size).encode())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = {len(json.loads(store.read("changing") or b"")) for _ in range(40)}
    finally:
        done.set()
        writer.join()
    assert found == set(sizes)


def test_what_is_no_json_comes_as_it_is(bucket: str) -> None:
    store = Store(bucket)
    store.write("damaged", b'{"a": ')
    assert store.read("damaged") == b'{"a": '.ljust(1024)


def test_a_bucket_that_is_not_there_is_an_error_in_a_sentence(bucket: str) -> None:
    with pytest.raises(OSError, match="bucket") as raised:
        Store("s3://no-such-bucket-here").write("a", b"")
    assert reason(raised.value) == (
        "When uploading object with key 'a' in bucket 'no-such-bucket-here': AWS Error NO_SUCH_BUCKET during PutObject "
        "operation: The specified bucket does not exist"
    )


def test_what_cannot_be_sent_is_an_error(cable: Cable, tmp_path: Path) -> None:
    store = Store("s3://no-such-bucket-here")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OSError, match="NO_SUCH_BUCKET"):
        store.upload(tmp_path / "file", "a")
    cable.pull()
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        store.upload(tmp_path / "file", "a")


def test_a_server_that_is_not_there_is_the_users_to_put_right(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"^s3://bucket/small: cannot be used \(.*NETWORK_CONNECTION.*\); check"):
        local_folder("s3://bucket/small")
