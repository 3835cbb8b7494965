"""Writes that S3 refuses if the object has changed meanwhile (If-None-Match, If-Match): pyarrow has none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError
from obstore.store import S3Store

from sweeper.folder.address import s3_endpoint

_PROFILES = ("~/.aws/credentials", "~/.aws/config")
_FROM_ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
_PATIENCE = timedelta(seconds=10)


class ChangedError(Exception):
    """The object is not the one that was read."""


def conditional_writes(bucket: str, folder: str) -> "ConditionalWrites | None":
    """Conditional writes to a folder of a bucket; None where the credentials are in `~/.aws`, unread by obstore.

    Args:
        bucket: its name.
        folder: the path in it.
    """
    named = any(os.environ.get(name) for name in _FROM_ENVIRONMENT)
    profile = os.environ.get("AWS_PROFILE") or any(Path(path).expanduser().exists() for path in _PROFILES)
    return None if profile and not named else ConditionalWrites(bucket, folder)


class ConditionalWrites:
    """Reads and writes objects together with their ETags. Raises OSError where the store cannot be reached."""

    def __init__(self, bucket: str, folder: str):
        self._store = S3Store(
            bucket,
            prefix=folder,
            endpoint=s3_endpoint(),
            client_options={"allow_http": True, "timeout": _PATIENCE},
            retry_config={"max_retries": 2, "retry_timeout": _PATIENCE},
        )

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Content and ETag of an object; None if there is none."""
        try:
            with _as_os_errors():
                found = obstore.get(self._store, name)
                return bytes(found.bytes()), found.meta["e_tag"] or ""
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes, tag: str | None) -> None:
        """Write an object that has this ETag, or does not exist where that is None.

        Raises:
            ChangedError: it has another one.
            NotImplementedError: the store knows no conditions.
        """
        mode: Any = "create" if tag is None else {"e_tag": tag}
        try:
            with _as_os_errors():
                obstore.put(self._store, name, content, mode=mode)
        except (AlreadyExistsError, PreconditionError) as error:
            raise ChangedError(name) from error
        except NotSupportedError as error:
            raise NotImplementedError from error


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except (AlreadyExistsError, PreconditionError, NotSupportedError):
        raise
    except BaseError as error:
        raise OSError(str(error)) from error
