"""Commands that read the results of sweeps, finished or running."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sweeper.cli import terminal
from sweeper.cli.options import Json, Sweep, Sweeps, Trial
from sweeper.errors import UserError, plural

if TYPE_CHECKING:
    from sweeper.report.figures.canvas import Figure

Clock = Annotated[
    Literal["steps", "examples", "seconds"] | None,
    typer.Option(help="The clock to rank on; by default objective.minimize."),
]


def list_(
    folder: Annotated[str, typer.Argument(help="A folder of sweeps, or s3://bucket/prefix.")] = "results",
    tag: Annotated[list[str] | None, typer.Option(help="List only the sweeps with this tag; may be repeated.")] = None,
    json: Json = False,
) -> None:
    """List the sweeps in a folder with their progress and best trials."""
    from sweeper.folder.find import addresses
    from sweeper.monitor import listing

    terminal.show(listing.list_sweeps(addresses(folder), tag or ()), listing.render, json=json)


def top(
    sweep: Sweep,
    count: Annotated[int, typer.Option("-n", help="Trials to list.", min=1)] = 10,
    clock: Clock = None,
    json: Json = False,
) -> None:
    """Print a sweep's leaderboard.

    mean: the mean time to the event up to the horizon (restricted mean), which ranks; equal means share a rank. ≥: runs
    are censored at the horizon; ≤: a trial was stopped early, its unfinished runs count at the horizon. median: by then
    half of the runs had reached the event (Kaplan-Meier); >: not by then.
    """
    from sweeper.config.saved import saved_spec
    from sweeper.folder.find import find_sweep
    from sweeper.report import leaderboard, leaderboard_table

    folder = find_sweep(sweep)
    board = leaderboard.leaderboard(folder, saved_spec(folder), count, clock)
    terminal.show(board, partial(leaderboard_table.render, console=terminal.out), json=json)


def show(
    trial: Trial,
    json: Json = False,
    yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the configuration as a space.yaml that trains it alone.")
    ] = False,
) -> None:
    """Print one trial: its configuration, the outcome of each run.

    train: the first step past that accuracy on the training set; best: the best value of the event's metric; label: how
    the run went (docs/results.md).
    """
    from sweeper.report.select import choose

    if yaml:
        from sweeper.report import as_space

        print(as_space.text(choose(trial)), end="")
        return
    from sweeper.report.show import render, trial_page

    terminal.show(trial_page(choose(trial)), render, json=json)


def compare(
    a: Trial,
    b: Annotated[str, typer.Argument(help="Another trial; a number or a baseline's name alone refers to A's sweep.")],
    clock: Clock = None,
    json: Json = False,
) -> None:
    """Compare two trials, paired on equal seeds.

    Says which is faster, with a 95 % interval.
    """
    from sweeper.report.compare import compare_trials, render
    from sweeper.report.select import choose

    first = choose(a)
    terminal.show(compare_trials(first, choose(b, among=first), clock), render, json=json)


def query(
    sweeps: Sweeps,
    sql: Annotated[str, typer.Argument(help="One SELECT over trials, runs and curves.")],
    format: Annotated[
        Literal["table", "csv", "json", "parquet"], typer.Option(help="The format of the result.")
    ] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; required for parquet.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Query the tables of a sweep in SQL.

    One SELECT of DuckDB's; the tables of several sweeps have a column `sweep`.
    """
    from sweeper.folder.find import find
    from sweeper.report import query_output
    from sweeper.results.query import query as run

    query_output.write(run(find(sweeps, terminal.complain), sql), "json" if json else format, output, terminal.out)


def export(
    sweeps: Sweeps,
    output: Annotated[
        Path | None, typer.Argument(help="The file to write, with extension .csv, .json or .parquet.")
    ] = None,
    table: Annotated[Literal["trials", "runs", "curves"], typer.Option(help="The table to write.")] = "trials",
    shape: Annotated[
        Literal["table", "final-info"],
        typer.Option(help="final-info: one trial, SWEEP:TRIAL, in the format of the published final_info.json."),
    ] = "table",
    to: Annotated[
        Literal["tensorboard", "mlflow", "wandb"] | None,
        typer.Option(help="Send every finished trial to this tracker instead, as `trackers` does while a sweep runs."),
    ] = None,
) -> None:
    """Write a table to a file, or send the trials to a tracker."""
    if (output is None) == (to is None):
        raise UserError("give a file to write, such as trials.csv, or --to with tensorboard, mlflow or wandb")
    if to is not None:
        _send(sweeps, to)
        return
    assert output is not None, "it was checked"
    from sweeper.folder.find import find
    from sweeper.report import export as exporting

    if shape == "final-info":
        from sweeper.report.select import choose

        exporting.write_final_info(choose(sweeps), output)
    else:
        exporting.export(find(sweeps, terminal.complain), table, exporting.format_of(output), output)
    terminal.say(f"wrote {output}")


def _send(sweep: str, tracker: str) -> None:
    from sweeper.config.saved import saved_spec
    from sweeper.folder.find import find_sweep
    from sweeper.report.export import finished_trials
    from sweeper.trackers import dispatch

    folder = find_sweep(sweep)
    with terminal.err.status(f"sending trials to {tracker}"):
        count = dispatch.send(tracker, folder.root.name, folder, finished_trials(folder, saved_spec(folder)))
    terminal.say(f"sent {plural(count, 'trial')} to {tracker}")


def report(
    sweep: Sweep,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder to write; by default `report` in the sweep's folder."),
    ] = None,
) -> None:
    """Write the report: a page for the browser, notes and figures.

    One self-contained HTML page, notes.md, and the figures as PNG and SVG.
    """
    with terminal.err.status("reading the tables") as status:
        from sweeper.folder.address import in_store
        from sweeper.folder.find import find_sweep
        from sweeper.report import document, page

        folder = find_sweep(sweep)
        target = output or (Path(f"{folder.root.name}-report") if in_store(sweep) else folder.report)
        figures = document.figures_of(folder)

        def drawn() -> "Iterator[Figure]":
            status.update("drawing the figures")
            for count, figure in enumerate(figures, 1):
                status.update(f"drew {plural(count, 'figure')}, the last: {figure.title}")
                yield figure

        written = page.write(document.report_data(folder, drawn()), target)
    terminal.say(f"wrote {written.page}, {written.notes.name} and {len(written.figures)} figures next to it")


def replay(
    sweep: Sweep,
    rule: Annotated[
        Literal["none", "cap", "race", "asha", "median"] | None, typer.Option(help="The rule; by default all of them.")
    ] = None,
    at_once: Annotated[int, typer.Option(help="Number of trials that train concurrently.", min=1)] = 1,
) -> None:
    """Replay a sweep under other stopping rules.

    How many steps it would have taken, and whether the winner would have survived.
    """
    with terminal.err.status("replaying the rules"):
        from sweeper.folder.find import find_sweep
        from sweeper.report import replay as replaying

        folder = find_sweep(sweep)
        found = replaying.replay(folder, [rule] if rule else replaying.RULES, at_once)
    terminal.out.print(replaying.render(found))
