"""One folder in an object store: S3 and compatible servers, or Google Cloud Storage.

Objects appear whole or not at all, and cannot be appended to or renamed. All methods are thread-safe, and raise one of
ERRORS if the store cannot be reached or refuses.
"""

import copy
import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from sweeper.folder.address import s3_endpoint

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in nanoseconds: equal where a file has not changed."""
ERRORS = (OSError, pa.ArrowException)
_TRIES = 5
_SMALLEST = 1024
_CHUNK = 16 * 2**20
"""Bytes per request when reading: every request costs."""


class Store:
    """A folder in an object store.

    Credentials, region and endpoint are those of the environment or of the machine's role.

    Args:
        uri: `s3://bucket/prefix` or `gs://bucket/prefix`.
    """

    def __init__(self, uri: str):
        scheme, _, self._root = uri.partition("://")
        bucket, _, folder = self._root.partition("/")
        self._objects = _s3(bucket) if scheme == "s3" else _gs(bucket)
        self._conditional = None
        if scheme == "s3":
            from sweeper.folder.conditional import conditional_writes  # noqa: PLC0415  # obstore takes a while to import

            self._conditional = conditional_writes(bucket, folder)
        self._guard: Callable[[], object] = lambda: None
        self.uri = uri

    def guarded(self, guard: Callable[[], object]) -> "Store":
        """The same store, where every write calls `guard` first, which may raise."""
        store = copy.copy(self)
        store._guard = guard
        return store

    def read(self, name: str) -> bytes | None:
        """Read a small object that holds JSON; None if there is none.

        pyarrow requests the size first and then that many bytes, so an object that is replaced by one of another size
        in between is truncated: `write` makes that rare, and content that is not JSON is requested again.
        """
        content = b""
        for _ in range(_TRIES):
            try:
                with self._objects.open_input_stream(self._path(name)) as stream:
                    content = bytes(stream.read())
                json.loads(content)
                return content
            except FileNotFoundError:
                return None
            except ValueError:
                continue
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write JSON to a small object, padded with blanks to a size that hardly changes."""
        self._guard()
        with self._objects.open_output_stream(self._path(name)) as stream:
            stream.write(_padded(content))

    def read_version(self, name: str) -> tuple[bytes | None, str | None]:
        """Content and version of a small object that holds JSON; None for both if there is none.

        The version is None too where the store, or what the credentials come from, has no conditional writes.
        """
        if self._conditional is not None:
            try:
                found = self._conditional.read(name)
            except OSError:  # of credentials, unless pyarrow cannot read it either
                content = self.read(name)
                self._conditional = None
                return content, None
            return (None, None) if found is None else found
        return self.read(name), None

    def replace(self, name: str, content: bytes, version: str | None) -> None:
        """Write JSON to a small object of which this version was read.

        Raises:
            ChangedError: it has another version now, where the store has conditional writes.
        """
        self._guard()
        if self._conditional is not None:
            try:
                self._conditional.write(name, _padded(content), version)
            except NotImplementedError:
                self._conditional = None
            else:
                return
        self.write(name, content)

    def upload(self, file: Path, name: str) -> None:
        """Upload a file.

        pyarrow's `copy_files` is not used: it ignores errors of closing an object, which is when it is sent.
        """
        self._guard()
        with open(file, "rb") as source, self._objects.open_output_stream(self._path(name)) as target:
            shutil.copyfileobj(source, target, _CHUNK)

    def download(self, name: str, file: Path) -> None:
        """Download an object to a file. Raises FileNotFoundError if there is none."""
        with self._objects.open_input_stream(self._path(name)) as source, open(file, "wb") as target:
            shutil.copyfileobj(source, target, _CHUNK)

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the store, on the server's side."""
        self._guard()
        self._objects.copy_file(self._path(source), self._path(target))

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        self._guard()
        with suppress(FileNotFoundError):
            self._objects.delete_file(self._path(name))

    def delete_folder(self, name: str) -> None:
        """Delete every object below a folder."""
        self._guard()
        try:
            self._objects.delete_dir(self._path(name))
        except OSError:  # where there are none, S3 and Google's store say so in different ways
            if self.listing(name):
                raise

    def listing(self, name: str = "") -> dict[str, Stamp]:
        """Every object below a folder, by its name there."""
        folder = self._path(name).rstrip("/")
        selected = fs.FileSelector(folder, recursive=True, allow_not_found=True)
        found = self._objects.get_file_info(selected)
        return {
            each.path.removeprefix(f"{folder}/"): (each.size, each.mtime_ns)
            for each in found
            if each.type == fs.FileType.File
        }

    def folders_with(self, name: str) -> list[str]:
        """Names of the folders directly below that hold an object of this name."""
        found = self._objects.get_file_info(fs.FileSelector(self._root, allow_not_found=True))
        below = sorted(each.base_name for each in found if each.type == fs.FileType.Directory)
        infos = self._objects.get_file_info([self._path(f"{each}/{name}") for each in below])
        return [each for each, info in zip(below, infos, strict=True) if info.type == fs.FileType.File]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _padded(content: bytes) -> bytes:
    """The content with blanks up to a size that hardly changes: see `Store.read`."""
    return content.ljust(max(_SMALLEST, 1 << (len(content) - 1).bit_length()))


def _s3(bucket: str) -> fs.FileSystem:
    endpoint = s3_endpoint()
    return fs.S3FileSystem(
        endpoint_override=endpoint,
        region=None if endpoint else fs.resolve_s3_region(bucket),
        # A small object is then one request instead of an upload in parts, which some servers refuse without any.
        allow_delayed_open=True,
        # A server that hangs is given up after about 10 s, not 100: the lease's beat waits for it.
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3),
    )


def _gs(bucket: str) -> fs.FileSystem:
    return fs.FileSystem.from_uri(f"gs://{bucket}?retry_limit_seconds=10")[0]


def reason(error: Exception) -> str:
    """The message of a store's error, cut to 300 characters."""
    message = re.sub(r"\s*\(Request ID: [^)]*\)", "", str(error)).strip().rstrip(".")
    return message if len(message) <= 300 else f"{message[:297]}..."
