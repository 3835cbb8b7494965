"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer


def names(incomplete: str) -> list[str]:
    """Names of the sweeps in results/, for completion in the shell."""
    return sorted(path.parent.name for path in Path("results").glob(f"{incomplete}*/space.yaml"))


Space = Annotated[Path, typer.Argument(help="The space.yaml.")]
Sweep = Annotated[
    str,
    typer.Argument(
        help="The sweep: its name in results/, its folder, or its address s3://bucket/prefix/NAME.",
        autocompletion=names,
    ),
]
Trial = Annotated[
    str,
    typer.Argument(help="SWEEP:TRIAL, for example quickstart:23; a baseline by its name; SWEEP alone: its best trial."),
]
Sweeps = Annotated[str, typer.Argument(help="A sweep, or a folder of sweeps.", autocompletion=names)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value, for example --set budget.trials=10."),
]
Address = Annotated[str | None, typer.Option(help="The address of a running Ray cluster, or auto.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Accept a cluster without token authentication.")]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes",
        help="Continue although the space.yaml or the training code has changed; finished trials are kept.",
    ),
]
Here = Annotated[bool, typer.Option("--here", help="Train one trial at a time in this process, without Ray.")]
Grace = Annotated[
    float, typer.Option(help="Seconds that a launch may take to end after SIGTERM, SIGHUP or SIGUSR1.", min=1, max=3600)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
