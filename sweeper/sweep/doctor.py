"""The hardware and versions of this machine, and whether they are compatible."""

import platform
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.environment import machine, provenance
from sweeper.errors import plural

_SEES = "torch sees"
_WIDTH = max(map(len, (_SEES, "NVIDIA GPUs", *provenance.PACKAGES)))


@dataclass(frozen=True)
class Diagnosis:
    """Facts in the order to show them, and warnings."""

    facts: dict[str, str]
    warnings: tuple[str, ...] = ()


def examine() -> Iterator[Diagnosis]:
    """Examine this machine.

    Yields:
        some facts at a time, so that they can be shown at once: torch takes seconds to import. The last diagnosis has
        all of them, and the warnings.
    """
    here = machine.look()
    facts = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "CPU": plural(here.cores, "core"),
        "memory": f"{here.memory / 2**30:.0f} GiB",
    }
    yield Diagnosis(dict(facts))
    names = machine.gpu_names()
    facts["NVIDIA GPUs"] = ", ".join(names) or (str(here.gpus) if here.gpus else "none")
    facts |= {name: version or "not installed" for name, version in provenance.versions().items()}
    yield Diagnosis(dict(facts))
    build, sees = _torch()
    facts[_SEES] = sees
    yield Diagnosis(dict(facts))
    facts["C kernels"] = _kernels()
    yield Diagnosis(facts, _warnings(here.gpus or len(names), build, sees, facts))


def _torch() -> tuple[str, str]:
    """The CUDA version torch was built for, empty for a CPU build, and the devices it sees."""
    try:
        import torch  # noqa: PLC0415  # slow to import, and its absence is a finding
    except ImportError as error:
        return "", f"nothing ({error})"
    if not torch.cuda.is_available():
        return torch.version.cuda or "", f"the CPU, {plural(torch.get_num_threads(), 'thread')}"
    count = torch.cuda.device_count()
    return torch.version.cuda or "", ", ".join(torch.cuda.get_device_name(i) for i in range(count))


def _kernels() -> str:
    """Whether the C kernels, which speed up training on the CPU, can be compiled."""
    try:
        from sweeper.training.ops import kernels  # noqa: PLC0415  # imports torch
    except ImportError:
        return "not without torch"
    found = kernels.library() is not None
    return "compiled" if found else "none (no working C compiler): training on the CPU is slower, results are the same"


def _warnings(gpus: int, build: str, sees: str, facts: dict[str, str]) -> tuple[str, ...]:
    found = []
    if gpus and not build:
        found.append(
            f"This machine has {gpus} NVIDIA GPU, but torch {facts['torch']} is a CPU-only build: every trial would "
            "train on the CPU. Install a CUDA build: pip install --force-reinstall torch"
        )
    elif gpus and sees.startswith("the CPU"):
        found.append(
            f"This machine has {gpus} NVIDIA GPU and torch is built for CUDA {build}, but torch sees none: "
            "look at the driver (nvidia-smi) and at CUDA_VISIBLE_DEVICES."
        )
    missing = [name for name in provenance.PACKAGES if facts[name] == "not installed"]
    if missing:
        found.append(f"Not installed: {', '.join(missing)}. Install them with pip install grokking-sweeper")
    return tuple(found)


def render(diagnosis: Diagnosis, shown: Collection[str] = ()) -> RenderableType:
    """The facts for people, without those that were shown before."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=_WIDTH)
    for name, value in diagnosis.facts.items():
        if name not in shown:
            table.add_row(Text(name, style="bold"), value)
    return table


def conclusion(diagnosis: Diagnosis) -> RenderableType:
    """The warnings for people."""
    warnings = [Text(f"WARNING: {warning}", style="bold red") for warning in diagnosis.warnings]
    return Group(*(warnings or [Text("No problems found.", style="green")]))
