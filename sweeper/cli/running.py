"""Commands for running sweeps: status, watch, stop."""

from typing import Annotated

import typer

from sweeper.cli import terminal
from sweeper.cli.options import Json, Sweep


def status(sweep: Sweep, json: Json = False) -> None:
    """Show whether a sweep is running, where, and its progress."""
    from sweeper.monitor.status import render
    from sweeper.monitor.status import status as find

    terminal.show(find(sweep), render, json=json, soft_wrap=True)


def watch(
    sweep: Sweep,
    web: Annotated[bool, typer.Option("--web", help="Serve a page for a browser on this machine.")] = False,
    port: Annotated[int, typer.Option(help="The page's port; 0 chooses a free one.", min=0, max=65535)] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Watch a running sweep live, from this or another machine.

    Ctrl-C does not stop the sweep.
    """
    from sweeper.monitor import server, status

    if web or open_browser:
        server.serve(sweep, port, say=terminal.say, open_browser=open_browser)
    else:
        status.watch(sweep, terminal.out)


def stop(
    sweep: Sweep,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return at once instead of when the sweep has ended.")
    ] = False,
) -> None:
    """Stop a running sweep gracefully.

    `sweeper resume` continues its trials where they were.
    """
    from sweeper.monitor import status

    status.stop(sweep, wait=not no_wait, say=terminal.say)
