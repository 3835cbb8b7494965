"""The command line: assembles the commands and maps errors to exit codes."""

import os
import sys
import traceback
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sweeper import __version__
from sweeper.cli import managing, reading, running, sweeping, terminal
from sweeper.errors import Interrupted, SweeperError
from sweeper.report import lines

_COMPLETE = "_SWEEPER_COMPLETE"
"""Environment variable that the shell sets to request completions, after `sweeper --install-completion`."""
COMMANDS: dict[str, tuple[Callable[..., Any], str]] = {
    "launch": (sweeping.launch, "sweeper launch search_spaces/quickstart.yaml --set budget.trials=10"),
    "resume": (sweeping.resume, "sweeper resume quickstart --set budget.trials=100"),
    "train": (sweeping.train, "sweeper train quickstart:23 --replicates 10 --tail 2000"),
    "status": (running.status, "sweeper status quickstart"),
    "watch": (running.watch, "sweeper watch quickstart"),
    "stop": (running.stop, "sweeper stop quickstart"),
    "check": (sweeping.check, "sweeper check search_spaces/quickstart.yaml"),
    "init": (sweeping.init, "sweeper init mine.yaml"),
    "import": (sweeping.import_, "sweeper import optuna.journal space.yaml --map lr=learning_rate -o warm.yaml"),
    "schema": (sweeping.schema, "sweeper schema > schema.json"),
    "list": (reading.list_, "sweeper list"),
    "top": (reading.top, "sweeper top quickstart -n 20 --clock seconds"),
    "show": (reading.show, "sweeper show quickstart:23"),
    "compare": (reading.compare, "sweeper compare quickstart:23 constant-128"),
    "query": (
        reading.query,
        "sweeper query quickstart 'SELECT batch_shape, min(rmst) FROM trials GROUP BY batch_shape'",
    ),
    "report": (reading.report, "sweeper report quickstart"),
    "export": (reading.export, "sweeper export quickstart trials.csv"),
    "replay": (reading.replay, "sweeper replay quickstart --rule asha"),
    "rm": (managing.rm, "sweeper rm quickstart --yes"),
    "mv": (managing.mv, "sweeper mv quickstart first-try"),
    "note": (managing.note, 'sweeper note quickstart "larger batches late; see notes of 12 May"'),
    "tag": (managing.tag, "sweeper tag quickstart paper batches"),
    "doctor": (sweeping.doctor, "sweeper doctor"),
}
"""Name of a command -> its function and an example."""


def _version(wanted: bool) -> None:
    if wanted:
        terminal.out.print(f"sweeper {__version__}", highlight=False)
        raise typer.Exit


def sweeper(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
    color: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(help="Whether to print in colour; auto follows NO_COLOR, FORCE_COLOR and the terminal."),
    ] = "auto",
) -> None:
    """Find the training configuration that reaches a threshold in the fewest steps."""
    if color != "auto":
        terminal.use_color(color)


def assembled(names: Iterable[str] = tuple(COMMANDS)) -> typer.Typer:
    """The command line with some of its commands: reading the signatures of all takes 30 ms."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(sweeper)
    for name in names:
        function, example = COMMANDS[name]
        app.command(name, epilog=f"Example: {example}")(function)
    return app


def main() -> None:
    """Run the command line and exit."""
    if _COMPLETE in os.environ:
        assembled()(prog_name="sweeper")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        lines.to_nowhere(terminal.out)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 the user's mistake, 3 a bug, 130 Ctrl-C."""
    named = _named(arguments)
    command = typer.main.get_command(assembled([named] if named else COMMANDS))
    try:
        with command.make_context("sweeper", arguments) as context:
            command.invoke(context)
    except SweeperError as error:
        terminal.complain(str(error))
        return error.exit_code
    except typer.Exit as leave:
        return leave.exit_code
    except KeyboardInterrupt:
        terminal.complain("stopped; the same command continues the sweep")
        return Interrupted.exit_code
    except BrokenPipeError:
        lines.to_nowhere(terminal.out)
        return 0
    except Exception as error:  # noqa: BLE001  # the one place where a bug becomes an exit code
        return _usage_error_or_bug(error)
    return 0


def _named(arguments: list[str]) -> str | None:
    """The command that is called; None where there is none, or an unknown one."""
    for before, each in zip(["", *arguments], arguments, strict=False):
        if not each.startswith("-") and before != "--color":
            return each if each in COMMANDS else None
    return None


def _usage_error_or_bug(error: Exception) -> int:
    """Show one of click's usage errors, or log a bug."""
    show: Callable[[], None] | None = getattr(error, "show", None)
    if show is not None:
        error.message = error.message.removeprefix("Value error, ")  # type: ignore[attr-defined]  # click's; Pydantic's
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
        terminal.complain(line)
    return 3
