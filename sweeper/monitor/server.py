"""Show a running sweep in a browser: `sweeper watch --web`. The server listens on 127.0.0.1 only and changes nothing.

Other web pages must not read it through the user's browser. Such a page can resolve its own name to 127.0.0.1 (DNS
rebinding), but the browser then sends that name in the Host header, and the request is refused.
"""

import hashlib
import html
import io
import json
import sys
import threading
import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rich.console import Console, RenderableType

from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.monitor.status import Status, Watcher, render
from sweeper.report import page as report
from sweeper.report.document import ReportData, figures_of, report_data
from sweeper.report.live import Board, Stamp, stamp_of

HOST = "127.0.0.1"
_EVERY, _SELDOM = 2, 10
"""Seconds between two refreshes of the page, while the sweep runs and when it does not."""
_WIDE = 160
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">{refresh}<title>{title}</title>
<style>body {{ margin: 2em; background: #fff; color: #111 }}
pre {{ font: 14px/1.35 monospace; overflow-x: auto }}</style>
</head><body>{body}</body></html>
"""


def content(folder: SweepFolder) -> bytes:
    """The full report of a sweep as a page."""
    return report.html(report_data(folder, figures_of(folder))).encode()


class Pages:
    """The pages of one sweep.

    Args:
        sweep: its name, folder or address.
    """

    def __init__(self, sweep: str):
        self._watcher, self._board = Watcher(sweep), Board()
        self._report: tuple[Stamp, bytes] | None = None
        self._data: tuple[Stamp, ReportData] | None = None
        self._one_at_a_time = threading.Lock()

    def page(self) -> bytes:
        """State, progress, leaderboard and the interactive figures; the page keeps itself up to date.

        Raises:
            UserError: there is no such sweep any more.
        """
        with self._one_at_a_time:
            found = self._watcher.look()
            stamp, data = self._read(SweepFolder(found.folder))
            return report.live_html(data, self._picture(found), _named(stamp)).encode()

    def now(self) -> bytes:
        """The state as HTML, the seconds until it is to be asked for again, and a stamp of the tables. As JSON.

        Raises:
            UserError: there is no such sweep any more.
        """
        with self._one_at_a_time:
            found = self._watcher.look()
            stamp = _named(stamp_of(SweepFolder(found.folder)))
            every = _EVERY if found.running else _SELDOM
            return json.dumps({"html": self._picture(found), "every": every, "stamp": stamp}).encode()

    def data(self) -> bytes:
        """What the interactive figures show, and the stamp of its tables. As JSON. Raises UserError."""
        with self._one_at_a_time:
            stamp, data = self._read(SweepFolder(self._watcher.look().folder))
            return json.dumps({"data": report.packed(data.explorer), "stamp": _named(stamp)}).encode()

    def report(self) -> bytes:
        """The full report; made anew only if the tables have changed. Raises UserError."""
        with self._one_at_a_time:
            folder = SweepFolder(self._watcher.look().folder)
            stamp = stamp_of(folder)
            if self._report is None or self._report[0] != stamp:
                self._report = (stamp, content(folder))
            return self._report[1]

    def _read(self, folder: SweepFolder) -> tuple[Stamp, ReportData]:
        stamp = stamp_of(folder)
        if self._data is None or self._data[0] != stamp:
            self._data = (stamp, report_data(folder, ()))
        return self._data

    def _picture(self, found: Status) -> str:
        console = _console()
        return "".join(picture(each, console) for each in self._parts(found, console))

    def _parts(self, found: Status, console: Console) -> tuple[RenderableType, ...]:
        return render(found), self._board.render(SweepFolder(found.folder), console)


class Server(ThreadingHTTPServer):
    """Serves the pages of one sweep on 127.0.0.1.

    Args:
        sweep: its name, folder or address.
        port: 0 chooses a free one.

    Raises:
        UserError: there is no such sweep, or the port is taken.
    """

    daemon_threads = True

    def __init__(self, sweep: str, port: int = 0):
        pages = Pages(sweep)
        pages.now()
        self.routes: dict[str, Callable[[], bytes]] = {
            "/": pages.page,
            "/now": pages.now,
            "/data": pages.data,
            "/report": pages.report,
        }
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UserError(f"--port {port}: cannot be used ({error.strerror}); give another one, or 0") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore closed connections; print other errors."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self.server_port}/"

    @property
    def names(self) -> tuple[str, ...]:
        """Values of the Host header that a browser on this machine sends."""
        return tuple(f"{name}:{self.server_port}" for name in (HOST, "localhost"))


def serve(sweep: str, port: int = 0, *, say: Callable[[str], object] = print, open_browser: bool = False) -> None:
    """Serve the page until Ctrl-C, which does not stop the sweep.

    Args:
        sweep: its name, folder or address.
        port: 0 chooses a free one.
        say: receives messages for the user, the page's address first.
        open_browser: whether to open the page in the browser.

    Raises:
        UserError: there is no such sweep, or the port is taken.
    """
    with Server(sweep, port) as server:
        say(f"{server.url} shows {sweep}; Ctrl-C closes the page and does not stop the sweep")
        if open_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("the page is closed; the sweep was not stopped")


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "sweeper", ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer with a page."""
        if self.headers.get("Host") not in self.server.names:
            self._answer(HTTPStatus.FORBIDDEN, _page("forbidden", f"this page is at {self.server.url}"))
            return
        page = self.server.routes.get(self.path)
        if page is None:
            self._answer(HTTPStatus.NOT_FOUND, _page("not found", "there is no such page"))
            return
        try:
            self._answer(HTTPStatus.OK, page())
        except UserError as error:
            body = f"<pre>{html.escape(str(error))}</pre>"
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, _page("error", body, _EVERY))

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: a page that refreshes itself would fill the terminal."""

    def _answer(self, status: HTTPStatus, page: bytes) -> None:
        self.send_response(status)
        for name, value in (*_HEADERS.items(), ("Content-Length", str(len(page)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)


def picture(what: RenderableType, console: Console) -> str:
    """Terminal output as HTML."""
    console.print(what)
    return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def _named(stamp: Stamp) -> str:
    return hashlib.sha256(repr(stamp).encode()).hexdigest()


def _console() -> Console:
    return Console(file=io.StringIO(), record=True, width=_WIDE, force_terminal=True, color_system="truecolor")


def _page(title: str, body: str, every: int | None = None) -> bytes:
    refresh = "" if every is None else f'<meta http-equiv="refresh" content="{every}">'
    return _PAGE.format(title=html.escape(title), body=body, refresh=refresh).encode()
