"""The Optuna dashboard on studies of ours, run as its command is and asked over HTTP."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from tests.fakes import small
from tests.fakes.launches import quiet, wait_for
from tests.fakes.packages import needs
from tests.fakes.postgres import Server
from tests.fakes.sweeps import Sweep
from tests.fakes.training import by_depth, learns

pytestmark = needs("optuna_dashboard")
COMMAND = "import sys; from optuna_dashboard._cli import main; sys.argv[0] = 'optuna-dashboard'; main()"


@contextmanager
def serving(storage: Path | str) -> Iterator[str]:
    """The address of `optuna-dashboard STORAGE`, on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-c", COMMAND, str(storage), *where]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert server.poll() is None, "optuna-dashboard ended"
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(answers, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def asked(address: str) -> Any:
    with urlopen(address, timeout=20) as answer:
        return json.load(answer)


def trials_of(address: str, name: str | None = None) -> list[dict[str, Any]]:
    studies = {each["study_name"]: each["study_id"] for each in asked(f"{address}/api/studies")["study_summaries"]}
    trials: list[dict[str, Any]] = asked(f"{address}/api/studies/{studies[name or next(iter(studies))]}")["trials"]
    return trials


@pytest.mark.slow
def test_the_dashboard_reads_the_journal_of_a_sweep_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {"budget": {"trials": 4}})
    sweep.launch(learns(by_depth))
    before = sweep.folder.journal.read_bytes()
    with serving(sweep.folder.journal) as address:
        trials = trials_of(address)
        with urlopen(f"{address}/dashboard", timeout=20) as page:
            assert page.status == 200
    assert [(each["number"], each["state"]) for each in trials] == [(number, "Complete") for number in range(4)]
    told = {row["trial"]: row["value"] for row in sweep.rows()}
    assert {each["number"]: float(each["values"][0]) for each in trials} == pytest.approx(told)
    assert sweep.folder.journal.read_bytes() == before


@pytest.mark.slow
def test_the_dashboard_reads_a_study_in_postgresql(tmp_path: Path, postgres: Server) -> None:
    name = f"seen-{tmp_path.name}"
    text = small.SPACE.replace("name: small", f"name: {name}\nstorage: {postgres.url}")
    launch(small.write(tmp_path, text), ["budget.trials=2"], LaunchOptions(where="here", console=quiet()))
    with serving(postgres.url) as address:
        trials = trials_of(address, name)
    assert [(each["number"], each["state"]) for each in trials] == [(0, "Complete"), (1, "Complete")]
