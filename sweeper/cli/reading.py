"""Commands that read what sweeps have left, also while they run."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sweeper.cli import terminal
from sweeper.cli.options import Json, Sweep, Sweeps

Clock = Annotated[
    Literal["steps", "examples", "seconds"] | None,
    typer.Option(help="Rank on this clock; by default the one that was asked for."),
]
Trial = Annotated[
    str, typer.Argument(help="SWEEP:TRIAL, as in quickstart:23; a baseline by its name; SWEEP: its best.")
]


def list_(
    folder: Annotated[str, typer.Argument(help="A folder of sweeps, or s3://bucket/prefix.")] = "results",
    json: Json = False,
) -> None:
    """List the sweeps in a folder: how far each is, and its best trial."""
    from sweeper.folder.find import addresses
    from sweeper.report import listing

    entries = listing.catalogue(addresses(folder))
    if json:
        terminal.print_json(entries)
    else:
        terminal.out.print(listing.render(entries))


def top(
    sweep: Sweep,
    count: Annotated[int, typer.Option("-n", help="Trials to list.", min=1)] = 10,
    clock: Clock = None,
    json: Json = False,
) -> None:
    """Print a sweep's leaderboard."""
    from sweeper.config.saved import saved_spec
    from sweeper.folder.find import find_sweep
    from sweeper.report import leaderboard

    folder = find_sweep(sweep)
    board = leaderboard.leaderboard(folder, saved_spec(folder), count, clock)
    if json:
        terminal.print_json(board)
    else:
        terminal.out.print(leaderboard.render(board, terminal.out))


def show(trial: Trial, json: Json = False) -> None:
    """Print everything about one trial: its configuration, and what became of each run."""
    from sweeper.report import show as sheet
    from sweeper.report.select import choose

    page = sheet.sheet(choose(trial))
    if json:
        terminal.print_json(page)
    else:
        terminal.out.print(sheet.render(page, terminal.out))


def compare(
    a: Trial,
    b: Annotated[str, typer.Argument(help="The other one; a number or a baseline's name alone is of A's sweep.")],
    clock: Clock = None,
    json: Json = False,
) -> None:
    """Say which of two trials is faster, paired on equal seeds, with an interval."""
    from sweeper.report import compare as pairs
    from sweeper.report.select import choose

    first = choose(a)
    found = pairs.pair(first, choose(b, among=first), clock)
    if json:
        terminal.print_json(found)
    else:
        terminal.out.print(pairs.render(found))


def query(
    sweeps: Sweeps,
    sql: Annotated[str, typer.Argument(help="One SELECT over trials, runs and curves.")],
    format: Annotated[
        Literal["table", "csv", "json", "parquet"], typer.Option(help="How to write the result.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; parquet needs one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Ask the tables of a sweep a question in SQL (DuckDB); of a folder of sweeps, with a column `sweep`."""
    from sweeper.folder.find import find
    from sweeper.report import query_output
    from sweeper.results.query import query as ask

    query_output.write(ask(find(sweeps, terminal.complain), sql), "json" if json else format, output, terminal.out)


def export(
    sweeps: Sweeps,
    output: Annotated[Path, typer.Argument(help="The file to write; its ending says how: .csv, .json or .parquet.")],
    table: Annotated[Literal["trials", "runs", "curves"], typer.Option(help="Which table.")] = "trials",
    shape: Annotated[
        Literal["table", "final-info"],
        typer.Option(help="final-info: one trial, SWEEP:TRIAL, as the published experiment's final_info.json."),
    ] = "table",
) -> None:
    """Write a table, or one trial, to a file for other programs."""
    from sweeper.folder.find import find
    from sweeper.report import export as exporting
    from sweeper.report.select import choose

    if shape == "final-info":
        exporting.write_final_info(choose(sweeps), output)
    else:
        exporting.export(find(sweeps, terminal.complain), table, exporting.format_of(output), output)
    terminal.say(f"wrote {output}")


def report(
    sweep: Sweep,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder; by default `report` in the sweep's own.")
    ] = None,
) -> None:
    """Write the report: one HTML page that needs no network, notes.md, and the figures as PNG and SVG."""
    from sweeper.folder.address import in_store
    from sweeper.folder.find import find_sweep
    from sweeper.report import document, page

    folder = find_sweep(sweep)
    place = output or (Path(f"{folder.root.name}-report") if in_store(sweep) else folder.report)
    with terminal.err.status("reading the tables and drawing the figures"):
        written = page.write(document.account(folder), place)
    terminal.say(f"wrote {written.page}, {written.notes.name} and {len(written.figures)} figures beside it")


def replay(
    sweep: Sweep,
    rule: Annotated[
        Literal["none", "cap", "race", "asha", "median"] | None, typer.Option(help="One rule; all of them by default.")
    ] = None,
    at_once: Annotated[int, typer.Option(help="Trials that train at the same time.", min=1)] = 1,
) -> None:
    """Replay a sweep's whole curves under other rules for stopping trials: steps spent, and was the winner stopped?"""
    from sweeper.folder.find import find_sweep
    from sweeper.report import replay as replaying

    folder = find_sweep(sweep)
    terminal.out.print(replaying.render(replaying.replay(folder, [rule] if rule else replaying.RULES, at_once)))
