"""Commands for living with many sweeps: rm, mv, note, tag."""

from typing import Annotated

import typer

from sweeper.cli import terminal
from sweeper.cli.options import Sweep, names
from sweeper.errors import UserError, plural

_MEGABYTE = 1e6


def rm(
    sweeps: Annotated[
        list[str],
        typer.Argument(help="The sweeps: names in results/, folders or addresses.", autocompletion=names),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without a question.")] = False,
) -> None:
    """Remove sweeps with everything in them; a running one is refused."""
    from sweeper.sweep import manage

    found = [manage.removal(sweep) for sweep in dict.fromkeys(sweeps)]
    for each in found:
        beside = f", and its trials in {each.storage}" if each.storage else ""
        size = f"{each.size / _MEGABYTE:.1f} MB"
        terminal.say(f"{each.sweep}: {plural(each.trials, 'trial')}, {size} in {each.folder.root}{beside}")
    if not yes:
        try:
            agreed = typer.confirm(f"Remove {plural(len(found), 'sweep')} for good?")
        except typer.Abort:
            print()
            raise UserError("nothing was removed: no answer came; --yes removes without a question") from None
        if not agreed:
            terminal.say("nothing was removed")
            raise typer.Exit(1)
    for each in found:
        manage.remove(each)
        terminal.say(f"removed {each.sweep}")


def mv(
    sweep: Sweep,
    to: Annotated[str, typer.Argument(help="Its new name, or the path of its new folder.")],
) -> None:
    """Rename a sweep, or move its folder; a running one is refused."""
    from sweeper.sweep import manage

    terminal.say(f"moved {sweep} to {manage.move(sweep, to).root}")


def note(
    sweep: Sweep,
    text: Annotated[str | None, typer.Argument(help="The note; an empty one removes it. Without it, print it.")] = None,
) -> None:
    """Write a note on a sweep, or print it.

    `list`, `show` and the report show it.
    """
    from dataclasses import replace

    from sweeper.folder import labels
    from sweeper.folder.find import address_of_one, find_sweep

    found = labels.read(find_sweep(sweep))
    if text is None:
        terminal.say(found.note)
    else:
        labels.write(address_of_one(sweep), replace(found, note=text.strip()))


def tag(
    sweep: Sweep,
    tags: Annotated[list[str] | None, typer.Argument(help="Tags to add. Without any, print the sweep's.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", "-r", metavar="TAG", help="Remove a tag; may be repeated.")
    ] = None,
) -> None:
    """Tag a sweep, or print its tags.

    `list --tag` lists the sweeps that have one.
    """
    from sweeper.folder import labels
    from sweeper.folder.find import address_of_one, find_sweep

    found = labels.read(find_sweep(sweep))
    if tags or remove:
        found = labels.changed(found, add=tags or (), remove=remove or ())
        labels.write(address_of_one(sweep), found)
    terminal.say(" ".join(found.tags))
