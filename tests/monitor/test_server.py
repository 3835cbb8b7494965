"""The page of a running sweep: what it shows, and to whom."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder, write_text
from sweeper.monitor import heartbeat
from sweeper.monitor.server import Pages, Server
from tests.fakes.browser import DESKTOP, browser, console, needs_browser, show
from tests.fakes.heartbeats import SPACE, beats
from tests.fakes.launches import in_training, launched, wait_for
from tests.fakes.sweeps import made_up


@contextmanager
def serving(called: str) -> Iterator[Server]:
    with Server(called) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: Server, path: str = "/", method: str = "GET", host: str | None = None) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


@pytest.fixture
def still(tmp_path: Path) -> SweepFolder:
    folder = SweepFolder(tmp_path / "made-up")
    write_text(folder.space, SPACE)
    return folder


@pytest.mark.slow
def test_the_page_shows_a_sweep_that_runs_and_refreshes_itself(tmp_path: Path) -> None:
    with launched(tmp_path) as running:
        in_training(running)
        wait_for(lambda: list(running.folder.table("trials").glob("*.parquet")))
        with serving(running.address) as server:
            answer, page = ask(server)
    assert answer.status == 200
    assert 'id="live"' in page and 'id="explore"' in page
    for words in (
        "running here",
        "1/3 trials finished, 1 running",
        "of 1,000,000",
        "steps until val_accuracy &gt; 0.99",
    ):
        assert words in page
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    running.join()


@needs_browser
def test_new_trials_come_into_the_figures_and_filters_stay(tmp_path: Path) -> None:
    folder = made_up(tmp_path).folder
    part = folder.table("trials") / "part-00000.parquet"
    everything = pq.read_table(part)
    pq.write_table(everything.filter(pc.not_equal(everything["trial"], 1)), part)  # the second one is still to come
    with serving(str(folder.root)) as server, browser(tmp_path / "profile") as driver:
        show(driver, server.url, DESKTOP)
        wait_for(lambda: driver.execute_script("return document.documentElement.dataset.ready"))
        size = driver.execute_script("return state.size")
        driver.execute_script("state.setFilter(state.dimensions.at(-1), {low: 0, high: 1e9}); state.set('log', true)")
        pq.write_table(everything, part)
        wait_for(lambda: driver.execute_script("return state.size") == size + 1)
        kept = driver.execute_script("return [state.filtered(), state.log, d3.select('#count').text()]")
        assert kept == [True, True, f"{size + 1} of {size + 1} trials pass the filters."]
        assert console(driver) == []


@pytest.mark.slow
def test_the_report_is_made_again_only_when_the_tables_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with launched(tmp_path) as running:
        running.go.set()
        running.join()
    made: list[Path] = []

    def counted(folder: SweepFolder) -> bytes:
        made.append(folder.root)
        return f"report {len(made)}".encode()

    monkeypatch.setattr("sweeper.monitor.server.content", counted)
    pages = Pages(running.address)
    assert [pages.report(), pages.report()] == [b"report 1"] * 2
    (part,) = running.folder.table("trials").glob("*.parquet")
    part.touch()
    assert [pages.report(), pages.report()] == [b"report 2"] * 2
    assert made == [running.folder.root] * 2
    with serving(running.address) as server:
        assert [ask(server, "/report")[1] for _ in range(2)] == ["report 3"] * 2


def test_only_a_browser_that_asks_for_this_machine_by_its_own_name_is_answered(still: SweepFolder) -> None:
    with serving(str(still.root)) as server:
        port = server.server_port
        for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
            assert ask(server, host=host)[0].status == 200
        for host in ("rebound.example", f"rebound.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.example", ""):
            answer, body = ask(server, host=host)
            assert answer.status == 403
            assert "made-up" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_the_page_can_only_be_read(still: SweepFolder, method: str) -> None:
    with serving(str(still.root)) as server:
        assert ask(server, method=method)[0].status == 501


def test_head_is_answered_without_a_body(still: SweepFolder) -> None:
    with serving(str(still.root)) as server:
        answer, body = ask(server, method="HEAD")
        assert (answer.status, body) == (200, "")
        assert int(answer.headers["Content-Length"]) > 100


@pytest.mark.parametrize(
    "path", ["/space.yaml", "/../space.yaml", "/%2e%2e/space.yaml", "//etc/passwd", "/report/..", "/?", "*"]
)
def test_there_are_no_other_pages(still: SweepFolder, path: str) -> None:
    with serving(str(still.root)) as server:
        answer, body = ask(server, path)
        assert answer.status == 404
        assert "there is no such page" in body


@pytest.mark.slow
def test_what_a_heartbeat_says_is_shown_and_not_obeyed(still: SweepFolder) -> None:
    progress = heartbeat.Progress("made-up", best="<script>alert(1)</script>", notice="[red]&amp;")
    beats(still, progress=progress, host="<b>host")
    _, page = ask_once(str(still.root))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "[red]&amp;amp;" in page
    assert "&lt;b&gt;host" in page
    assert "<script>alert" not in page


def ask_once(called: str) -> tuple[HTTPResponse, str]:
    with serving(called) as server:
        return ask(server)


def test_a_sweep_that_is_taken_away_meanwhile_is_said_to_be_gone(still: SweepFolder) -> None:
    with serving(str(still.root)) as server:
        still.space.unlink()
        answer, page = ask(server)
    assert answer.status == 500
    assert "no sweep here" in page


def test_it_listens_on_this_machine_alone_and_says_when_a_port_is_taken(still: SweepFolder) -> None:
    with serving(str(still.root)) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert server.url == f"http://127.0.0.1:{server.server_port}/"
        with socket.socket() as asking:
            assert asking.connect_ex(("127.0.0.2", server.server_port)) != 0
        with pytest.raises(UserError, match=rf"--port {server.server_port}: cannot be used \(Address already in use\)"):
            Server(str(still.root), server.server_port)
    with pytest.raises(UserError, match="no sweep here"):
        Server(str(still.root) + "x")


def test_a_browser_that_goes_away_half_way_is_no_trouble(still: SweepFolder, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(str(still.root)) as server:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", server.server_port)) as going:
                going.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                going.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
        assert ask(server)[0].status == 200
    assert capfd.readouterr() == ("", "")
