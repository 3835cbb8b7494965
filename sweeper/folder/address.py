"""Addresses of sweeps: a folder, or a URI in an object store with a local copy in this user's cache."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

SCHEMES = ("s3", "gs")
CACHE = "SWEEPER_CACHE"
"""Environment variable: the folder of local copies of sweeps in object stores, and of data that tasks generate."""
_SEGMENT = re.compile(r"[A-Za-z0-9._=+-]+")


def in_store(address: str) -> bool:
    """Whether an address is a URI rather than a path."""
    return "://" in address


def check(address: str) -> str:
    """Validate an address: a path is returned unchanged, a URI in normal form.

    Raises:
        ValueError: not the URI of a folder in an object store; the message is for the user.
    """
    if not in_store(address):
        return address
    scheme, _, path = address.partition("://")
    known = " or ".join(f"{each}://" for each in SCHEMES)
    if scheme not in SCHEMES:
        raise ValueError(f"got {address.partition('@')[0]!r}; give a folder, or a URI that begins with {known}")
    if "@" in path or "?" in path:
        # The space.yaml is kept with the results, so it must not hold secrets; nor must this message repeat one.
        raise ValueError(
            f"got options or credentials in a URI; give {scheme}://bucket/prefix alone: "
            "credentials, region and endpoint come from the environment"
        )
    segments = path.rstrip("/").split("/")
    if not all(_SEGMENT.fullmatch(each) and each.strip(".") for each in segments):
        raise ValueError(
            f"got {address!r}; give {scheme}://bucket/prefix, of letters, digits and . _ - = + between the slashes"
        )
    return f"{scheme}://{'/'.join(segments)}"


def address_of(results: str, name: str) -> str:
    """The address of a sweep: `results` of its space.yaml, and its name."""
    return f"{check(results)}/{name}" if in_store(results) else str(Path(results) / name)


def working_folder(address: str) -> Path:
    """The local folder that a sweep runs in: the address itself, or one in the cache.

    The folder's path contains the server if it is not the default one: bucket names are unique per server only.

    Raises:
        ValueError: as `check`.
    """
    if not in_store(address):
        return Path(address)
    scheme, _, path = check(address).partition("://")
    endpoint = s3_endpoint() if scheme == "s3" else None
    server = re.sub(r"[^\w.-]", "-", urlsplit(endpoint).netloc) if endpoint else ""
    return cache_folder() / "-".join(filter(None, (scheme, server))) / path


def s3_endpoint() -> str | None:
    """The S3 server, if it is not Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def cache_folder() -> Path:
    """The folder for what this user's sweeps share on this machine."""
    if os.environ.get(CACHE):
        return Path(os.environ[CACHE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweeper"
