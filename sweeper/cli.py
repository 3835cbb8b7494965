"""The command line: parse, call one function, map errors to exit codes."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from sweeper.errors import Interrupted, SweeperError, UserError
from sweeper.paths import SweepFolder

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
_WIDE = 160
"""Columns where there is no terminal to fit into."""
out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE)
err = Console(stderr=True)

Space = Annotated[Path, typer.Argument(help="The space.yaml.")]
Sweep = Annotated[
    str, typer.Argument(help="The sweep's folder, such as results/quickstart, or s3://bucket/prefix/quickstart.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value, as in --set budget.trials=10.")
]

Address = Annotated[str | None, typer.Option(help="A running Ray cluster, or auto.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Accept a cluster that demands no token.")]
Here = Annotated[bool, typer.Option("--here", help="One trial at a time in this process, without Ray.")]


@app.callback()
def sweeper() -> None:
    """Find the training configuration that reaches a threshold in the fewest steps."""


@app.command()
def launch(  # noqa: PLR0917  # options; typer passes them by name
    space: Space,
    overrides: Overrides = None,
    address: Address = None,
    insecure: Insecure = False,
    here: Here = False,
    resume: Annotated[
        Literal["anyway"] | None, typer.Option(help="Go on although the question or the code has changed.")
    ] = None,
) -> None:
    """Run a sweep, or continue it where it stopped."""
    from sweeper.launch import launch as run

    where: Literal["here", "ray"] = "here" if here else "ray"
    run(space, overrides, where=where, address=address, insecure=insecure, resume=resume, console=out)


@app.command()
def resume(
    sweep: Annotated[str, typer.Argument(help="The sweep's folder, its name in results/, or its s3:// address.")],
    overrides: Overrides = None,
    address: Address = None,
    insecure: Insecure = False,
    here: Here = False,
) -> None:
    """Continue a sweep from its folder, as in: sweeper resume quickstart --set budget.trials=100."""
    from sweeper.launch import resume as run

    run(sweep, overrides, where="here" if here else "ray", address=address, insecure=insecure, console=out)


@app.command()
def check(space: Space, overrides: Overrides = None) -> None:
    """Check a space.yaml and print what a launch would do."""
    from sweeper import machine, plan
    from sweeper.spec.loading import load

    out.print(plan.render(plan.plan(load(space, overrides), machine.look())))


@app.command()
def init(space: Annotated[Path, typer.Argument(help="The file to write.")] = Path("space.yaml")) -> None:
    """Write a commented space.yaml to start from."""
    if space.exists():
        raise UserError(f"{space}: is there already; give another name")
    try:
        space.write_text(resources.files("sweeper.spec").joinpath("starter.yaml").read_text())
    except OSError as error:
        raise UserError(f"{space}: cannot be written ({error.strerror})") from None
    out.print(f"wrote {space}; next: sweeper check {space}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def schema() -> None:
    """Print the JSON Schema of space.yaml, which editors use to complete and check."""
    from sweeper.spec.json_schema import json_schema

    print(json.dumps(json_schema(), indent=1))


@app.command()
def top(
    sweep: Sweep,
    count: Annotated[int, typer.Option("-n", help="Trials to list.", min=1)] = 10,
    clock: Annotated[
        Literal["steps", "examples", "seconds"] | None,
        typer.Option(help="Rank on this clock; by default as asked for."),
    ] = None,
) -> None:
    """Print a sweep's leaderboard, also while it runs."""
    from sweeper.report import leaderboard
    from sweeper.spec.loading import load

    folder = _found(sweep)
    spec = load(folder.space).spec
    board = leaderboard.leaderboard(folder, spec, count, clock)
    out.print(leaderboard.render(board, out))


@app.command()
def query(
    sweep: Sweep,
    sql: Annotated[str, typer.Argument(help="One SELECT over trials, runs and curves.")],
    format: Annotated[
        Literal["table", "csv", "json", "parquet"], typer.Option(help="How to write the result.")
    ] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; parquet needs one.")] = None,
) -> None:
    """Ask a sweep's tables a question in SQL (DuckDB), also while it runs."""
    from sweeper.report import answers
    from sweeper.results.query import query as ask

    folder = _found(sweep)
    answers.write(ask(folder, sql), format, output, out)


@app.command()
def replay(
    sweep: Sweep,
    rule: Annotated[
        Literal["none", "cap", "race", "asha", "median"] | None, typer.Option(help="One rule; all of them by default.")
    ] = None,
    at_once: Annotated[int, typer.Option(help="Trials that train at the same time.", min=1)] = 1,
) -> None:
    """Replay a sweep's whole curves under other rules for stopping trials: steps spent, and was the winner stopped?"""
    from sweeper import replay as replaying

    folder = _found(sweep)
    out.print(replaying.render(replaying.replay(folder, [rule] if rule else replaying.RULES, at_once)))


@app.command()
def doctor() -> None:
    """Say what hardware and versions were found, and whether they fit together."""
    from sweeper import doctor as examination

    diagnosis = examination.examine()
    out.print(examination.render(diagnosis))
    if diagnosis.warnings:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; the process's exit code says how it went."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; 0 done, 1 the sweep failed, 2 the user's mistake, 3 ours, 130 Ctrl-C."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("sweeper", arguments) as context:
            command.invoke(context)
    except SweeperError as error:
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    except typer.Exit as leave:
        return leave.exit_code
    except KeyboardInterrupt:
        err.print("stopped; the same command continues the sweep")
        return Interrupted.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  # the one place where a bug of ours becomes an exit code
        return _on_other(error)
    return 0


def _on_other(error: Exception) -> int:
    """Click's own usage errors, and bugs."""
    show: Callable[[], None] | None = getattr(error, "show", None)
    if show is not None:
        show()
        return 2
    log = Path(f"sweeper-bug-{datetime.now():%Y%m%d-%H%M%S}.log").resolve()
    report = "".join(["command: ", " ".join(sys.argv), "\n", *traceback.format_exception(error)])
    kept = f"please report it with {log}"
    try:
        log.write_text(report)
    except OSError as unwritable:
        kept = f"please report it with the following ({log} cannot be written: {unwritable.strerror})\n{report}"
    for line in (f"a bug in sweeper: {type(error).__name__}: {error}", kept):
        err.print(line, markup=False, highlight=False, soft_wrap=True)
    return 3


def _found(sweep: str) -> SweepFolder:
    """The folder of a sweep, or of a local copy of it."""
    from sweeper.results.local_copy import localised

    folder = localised(sweep)
    if not folder.space.exists():
        raise UserError(
            f"{sweep}: no sweep here; give the folder that `sweeper launch` named, such as results/quickstart"
        )
    return folder
