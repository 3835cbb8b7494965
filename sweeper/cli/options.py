"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer


def _names(incomplete: str) -> list[str]:
    """Sweeps in results/, for the shell to complete."""
    return sorted(path.parent.name for path in Path("results").glob(f"{incomplete}*/space.yaml"))


Space = Annotated[Path, typer.Argument(help="The space.yaml.")]
Sweep = Annotated[
    str,
    typer.Argument(
        help="The sweep: its name in results/, its folder, or s3://bucket/prefix/NAME.", autocompletion=_names
    ),
]
Sweeps = Annotated[str, typer.Argument(help="A sweep, or a folder of sweeps to read as one.", autocompletion=_names)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace a value, as in --set budget.trials=10.")
]
Address = Annotated[str | None, typer.Option(help="A running Ray cluster, or auto.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Accept a cluster that demands no token.")]
Here = Annotated[bool, typer.Option("--here", help="One trial at a time in this process, without Ray.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
