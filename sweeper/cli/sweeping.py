"""Commands that prepare and run sweeps: launch, resume, check, init, schema, doctor."""

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sweeper.cli import terminal
from sweeper.cli.options import AcceptChanges, Address, Grace, Here, Insecure, Overrides, Space, Sweep, Trial
from sweeper.errors import UserError
from sweeper.sweep.signals import GRACE_S, Signals

if TYPE_CHECKING:
    from sweeper.sweep.options import LaunchOptions


def launch(  # noqa: PLR0917  # options; typer passes them by name
    space: Space,
    overrides: Overrides = None,
    address: Address = None,
    insecure: Insecure = False,
    here: Here = False,
    accept_changes: AcceptChanges = False,
    grace: Grace = GRACE_S,
) -> None:
    """Run a sweep, or continue it where it stopped."""
    with Signals(grace) as signals:  # importing takes seconds
        from sweeper.sweep.launch import launch as run

        run(
            space,
            overrides,
            _options(signals, here=here, address=address, insecure=insecure, accept_changes=accept_changes),
        )


def resume(  # noqa: PLR0917  # options; typer passes them by name
    sweep: Sweep,
    overrides: Overrides = None,
    address: Address = None,
    insecure: Insecure = False,
    here: Here = False,
    accept_changes: AcceptChanges = False,
    grace: Grace = GRACE_S,
) -> None:
    """Continue a sweep from its folder, wherever it has been moved to."""
    with Signals(grace) as signals:  # importing takes seconds
        from sweeper.sweep.launch import resume as run

        run(
            sweep,
            overrides,
            _options(signals, here=here, address=address, insecure=insecure, accept_changes=accept_changes),
        )


def train(  # noqa: PLR0917  # options; typer passes them by name
    trial: Trial,
    replicates: Annotated[int | None, typer.Option(help="Seeds; by default as many as in the sweep.", min=1)] = None,
    tail: Annotated[
        int | None, typer.Option(help="Updates that each run trains after its event; by default as there.", min=0)
    ] = None,
    overrides: Overrides = None,
    address: Address = None,
    insecure: Insecure = False,
    here: Here = False,
    accept_changes: AcceptChanges = False,
    grace: Grace = GRACE_S,
) -> None:
    """Train one configuration of a sweep again, alone.

    It becomes a sweep of its own, SWEEP-TRIAL, that keeps the trained parameters.
    """
    with Signals(grace) as signals:  # importing takes seconds
        from sweeper.sweep.retrain import train as run

        options = _options(signals, here=here, address=address, insecure=insecure, accept_changes=accept_changes)
        run(trial, replicates, tail, overrides, options)


def _options(
    signals: Signals, *, here: bool, address: str | None, insecure: bool, accept_changes: bool
) -> "LaunchOptions":
    from sweeper.sweep.options import LaunchOptions

    return LaunchOptions(
        where="here" if here else "ray",
        address=address,
        insecure=insecure,
        accept_changes=accept_changes,
        console=terminal.lasting(),
        signals=signals,
    )


def check(
    space: Space,
    overrides: Overrides = None,
    here: Here = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Train some configurations for 20 s, to forecast how long it will take.")
    ] = False,
    price: Annotated[
        float | None, typer.Option(help="The price of this machine for an hour, to forecast the cost.", min=0)
    ] = None,
) -> None:
    """Check a space.yaml, and print what a launch would do.

    Also how long it will take on this machine.
    """
    from sweeper.config.loading import load
    from sweeper.environment import machine
    from sweeper.sweep import plan

    planned = plan.plan(load(space, overrides), machine.look(), here=here)
    terminal.out.print(plan.render(planned))
    found = plan.estimated(planned, space, overrides, here=here, measure=measure, price=price)
    terminal.out.print(plan.render_estimate(found))


def init(space: Annotated[Path, typer.Argument(help="The file to write.")] = Path("space.yaml")) -> None:
    """Write a commented space.yaml to start from.

    Beside it, if there is none, the schema.json with which editors complete and check it.
    """
    from sweeper.config.json_schema import json_schema

    if space.exists():
        raise UserError(f"{space} already exists; give another name")
    schema = space.with_name("schema.json")
    written = {space: resources.files("sweeper.config").joinpath("starter.yaml").read_text(encoding="utf-8")}
    if not schema.exists() and schema != space:
        written[schema] = json.dumps(json_schema(), indent=1) + "\n"
    for path, text in written.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    terminal.say(f"wrote {' and '.join(map(str, written))}; next: sweeper check {space}")


def import_(  # noqa: PLR0917  # options; typer passes them by name
    source: Annotated[
        str,
        typer.Argument(
            help="An Optuna journal or SQLite file, a folder of Ray Tune results, or a CSV export of Weights & Biases."
        ),
    ],
    space: Space,
    best: Annotated[int, typer.Option(help="The most configurations to take.", min=1)] = 10,
    metric: Annotated[str | None, typer.Option(help="Of Ray Tune and W&B: the number that ranks trials.")] = None,
    mode: Annotated[Literal["min", "max"] | None, typer.Option(help="Whether less or more of it is better.")] = None,
    study: Annotated[str | None, typer.Option(help="The Optuna study, if there are several.")] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="THEIRS=OURS", help="Our name of a parameter; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the space.yaml with the points to this file.")
    ] = None,
) -> None:
    """Start a search from the best configurations of another tuner."""
    from sweeper.sweep import importing

    pairs = [each.partition("=") for each in names or []]
    wrong = [f"{theirs}{equals}{ours}" for theirs, equals, ours in pairs if not (theirs and ours)]
    if wrong:
        raise UserError(f"--map {wrong[0]}: write THEIRS=OURS, as in --map lr=learning_rate")
    found = importing.import_points(
        source,
        space,
        best=best,
        metric=metric,
        mode=mode,
        study=study,
        names={theirs: ours for theirs, _, ours in pairs},
    )
    for line in importing.sentences(found):
        terminal.complain(line)
    if output is None:
        print(importing.section(found), end="")
        return
    text = importing.with_section(space, found)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written ({error.strerror})") from None
    terminal.say(f"wrote {output}; next: sweeper check {output}")


def schema() -> None:
    """Print the JSON Schema of space.yaml, for editors."""
    from sweeper.config.json_schema import json_schema

    print(json.dumps(json_schema(), indent=1))


def doctor() -> None:
    """Show hardware and versions, and whether they fit together."""
    from sweeper.sweep import doctor as examination

    diagnosis = examination.Diagnosis({})
    for more in examination.examine():
        terminal.out.print(examination.render(more, diagnosis.facts))
        diagnosis = more
    terminal.out.print(examination.conclusion(diagnosis))
    if diagnosis.warnings:
        raise typer.Exit(1)
