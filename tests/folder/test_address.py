"""Addresses of sweeps: paths, and URIs that hold no secrets."""

from pathlib import Path

import pytest

from sweeper.folder.address import address_of, check, in_store, working_folder


@pytest.fixture(autouse=True)
def no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "SWEEPER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/someone")


@pytest.mark.parametrize("path", ["results", "/data/results", "../elsewhere", "a folder", "results/"])
def test_a_path_stays_as_it_is(path: str) -> None:
    assert check(path) == path
    assert not in_store(path)
    assert working_folder(address_of(path, "small")) == Path(path) / "small"


@pytest.mark.parametrize(
    ("results", "address", "folder"),
    [
        ("s3://bucket", "s3://bucket/small", "s3/bucket/small"),
        ("s3://bucket/", "s3://bucket/small", "s3/bucket/small"),
        ("s3://bucket/a/b.c/", "s3://bucket/a/b.c/small", "s3/bucket/a/b.c/small"),
        ("gs://bucket/year=2026", "gs://bucket/year=2026/small", "gs/bucket/year=2026/small"),
    ],
)
def test_a_uri_has_a_folder_in_the_cache(results: str, address: str, folder: str) -> None:
    assert address_of(results, "small") == address
    assert working_folder(address) == Path("/home/someone/.cache/sweeper") / folder


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert working_folder("s3://bucket/small") == Path("/var/cache/sweeper/s3/bucket/small")
    monkeypatch.setenv("SWEEPER_CACHE", "/scratch")
    assert working_folder("s3://bucket/small") == Path("/scratch/s3/bucket/small")


def test_buckets_of_another_server_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_CACHE", "/scratch")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://storage.example.org:9000/")
    assert working_folder("s3://bucket/small") == Path("/scratch/s3-storage.example.org-9000/bucket/small")
    assert working_folder("gs://bucket/small") == Path("/scratch/gs/bucket/small")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://10.0.0.1")
    assert working_folder("s3://bucket/small") == Path("/scratch/s3-10.0.0.1/bucket/small")


@pytest.mark.parametrize(
    "uri",
    ["s3://key:secret@bucket/a", "s3://bucket/a?secret_key=secret", "gs://bucket?access_token=secret", "s3://secret@b"],
)
def test_a_uri_with_options_or_credentials_is_refused_and_not_repeated(uri: str) -> None:
    scheme = uri[:2]
    with pytest.raises(ValueError, match="options or credentials") as raised:
        check(uri)
    assert str(raised.value) == (
        f"got options or credentials in a URI; give {scheme}://bucket/prefix alone: "
        "credentials, region and endpoint come from the environment"
    )


@pytest.mark.parametrize("uri", ["http://bucket/a", "file:///a", "S3://bucket", "://bucket", "gcs://bucket"])
def test_another_scheme_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"^got ") as raised:
        check(uri)
    assert str(raised.value) == f"got {uri!r}; give a folder, or a URI that begins with s3:// or gs://"


@pytest.mark.parametrize(
    "uri",
    ["s3://", "s3:///a", "s3://bucket//a", "s3://bucket/../a", "s3://bucket/./a", "s3://bucket/a b", "s3://b/%2e"],
)
def test_what_is_no_folder_of_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"^got ") as raised:
        check(uri)
    assert str(raised.value) == (
        f"got {uri!r}; give s3://bucket/prefix, of letters, digits and . _ - = + between the slashes"
    )
