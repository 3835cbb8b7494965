"""Commands about a sweep that runs: look at it, watch it, stop it."""

from typing import Annotated

import typer

from sweeper.cli import terminal
from sweeper.cli.options import Json, Sweep


def status(sweep: Sweep, json: Json = False) -> None:
    """Say whether a sweep runs, where, and how far it is."""
    from sweeper.monitor import status as watching

    found = watching.status(sweep)
    if json:
        terminal.print_json(found)
    else:
        terminal.out.print(watching.render(found), soft_wrap=True)


def watch(
    sweep: Sweep,
    web: Annotated[bool, typer.Option("--web", help="On a page for a browser on this machine.")] = False,
    port: Annotated[int, typer.Option(help="The page's port; 0 takes a free one.", min=0, max=65535)] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Watch a running sweep live, from here or from another machine; Ctrl-C leaves the sweep alone."""
    from sweeper.monitor import server as page
    from sweeper.monitor import status as watching

    if web or open_browser:
        page.serve(sweep, port, say=terminal.say, open_browser=open_browser)
    else:
        watching.watch(sweep, terminal.out)


def stop(
    sweep: Sweep,
    wait: Annotated[bool, typer.Option(" /--no-wait", help="Return at once; by default when it has ended.")] = True,
) -> None:
    """Ask a running sweep to stop gracefully; trials in training go on where they were when it is resumed."""
    from sweeper.monitor import status as watching

    watching.stop(sweep, wait=wait, say=terminal.say)
