"""A PostgreSQL server for tests: its data in a temporary folder, on a socket and a port of this machine alone."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

PASSWORD = "it's a: secret"


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: of its database, for a user who needs no password.
        keyed: of the same, for one whose password is `PASSWORD`.
    """

    folder: Path
    port: int
    database: str = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://sweeper@127.0.0.1:{self.port}/{self.database}"

    @property
    def keyed(self) -> str:
        return f"postgresql://keyed@127.0.0.1:{self.port}/{self.database}"

    def run(self, *statements: str) -> None:
        """Run SQL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]  # psycopg wants literals


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs; None where there are none."""
    found = shutil.which("initdb")
    installed = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(installed) if (folder / "postgres").exists()), None)


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """A server for as long as it is needed. PostgreSQL refuses root, for whom nobody runs it."""
    who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="sweeper-postgres-", dir="/tmp"))  # sockets need short paths
    if who:
        shutil.chown(folder, "nobody", "nogroup")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(folder, free.getsockname()[1])
    data = folder / "data"
    try:
        made = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "sweeper",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--locale=C",
        ]
        subprocess.run(made, check=True, capture_output=True, cwd=folder, **who)  # type: ignore[call-overload]
        rules = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text(f"host all keyed 127.0.0.1/32 scram-sha-256\n{rules}")
        options = ("-p", str(server.port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
        with open(folder / "log", "w") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, *options],
                stdout=log,
                stderr=log,
                cwd=folder,
                **who,  # type: ignore[arg-type]
            )
        try:
            _wait_for(server, process)
            server.run(
                f"create role keyed login password $${PASSWORD}$$",
            )
            yield server
        finally:
            process.send_signal(2)
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, (server.folder / "log").read_text()
        try:
            return server.run("select 1")
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, (server.folder / "log").read_text()
            time.sleep(0.05)
