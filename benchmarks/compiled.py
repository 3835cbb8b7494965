"""Kernels as an H100 would run them, without one: what a launch is given is recorded, and compiled for sm_90.

The recorded launches of a step at any size are the step's kernels, grids and arguments; nothing is computed.
"""

import importlib
import pkgutil
import re
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sweeper.training.ops import triton as kernels

SM_90 = GPUTarget("cuda", 90, 32)
SHARED_BYTES = 227 * 1024
"""Shared memory that a block of an H100 can have."""
_OPTIONS = ("num_warps", "num_stages")


@dataclass(frozen=True)
class Launch:
    """A kernel, how many programs, and its arguments by name."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]

    @property
    def name(self) -> str:
        """Of the kernel."""
        return self.kernel.fn.__name__.removeprefix("_")

    @property
    def programs(self) -> int:
        """Of the whole launch."""
        count = 1
        for each in self.grid:
            count *= each
        return count


@dataclass(frozen=True)
class Resources:
    """What a program takes on an H100.

    Attributes:
        registers: of a thread.
        spilled: bytes of a thread that did not fit into registers.
        shared: bytes of shared memory.
        warps: of 32 threads.
        tensor_cores: kinds of instructions of matrix units, such as `wgmma tf32`.
    """

    registers: int
    spilled: int
    shared: int
    warps: int
    tensor_cores: tuple[str, ...]

    @property
    def programs_at_once(self) -> int:
        """Of a multiprocessor: what its registers, threads and shared memory hold."""
        registers = 65536 // max(1, -(-self.registers // 8) * 8 * self.warps * 32)
        return max(1, min(registers, 64 // self.warps, (SHARED_BYTES + 1024) // (self.shared + 1024), 32))


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Launches within are recorded and not done."""
    found: list[Launch] = []

    def record(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
        options = {name: constants.pop(name) for name in _OPTIONS if name in constants}
        found.append(Launch(kernel, grid, dict(zip(kernel.arg_names, arguments, strict=False)) | constants, options))

    devices, works = set(kernels.devices), dict(kernels._works)
    launches = {module: module.launch for module in _modules()}
    kernels.devices.add("cpu")
    kernels._works["cpu"] = True
    try:
        for module in launches:
            module.launch = record
        yield found
    finally:
        for module, launch in launches.items():
            module.launch = launch
        kernels.devices.clear()
        kernels.devices.update(devices)
        kernels._works.clear()
        kernels._works.update(works)


def key(launch: Launch) -> str:
    """Equal for launches that share their machine code."""
    signature, constants, aligned = _specialised(launch)
    return repr((launch.name, signature, constants, aligned, launch.options))


def compiled(launch: Launch) -> Resources:
    """The launch's kernel, compiled for an H100."""
    signature, constants, aligned = _specialised(launch)
    attributes = {place: [["tt.divisibility", 16]] for place in aligned}
    source = ASTSource(fn=launch.kernel, signature=signature, constexprs=constants, attrs=attributes)
    built = triton.compile(source, target=SM_90, options=launch.options or None)
    registers, stack = _usage(built.asm["cubin"])
    found = re.findall(r"\b(wgmma|mma)\.\S*?\.(tf32|bf16|f16|f64)\.", built.asm["ptx"].replace(".mma_async", ""))
    units = tuple(sorted({" ".join(each) for each in found}))
    return Resources(registers, stack, built.metadata.shared, built.metadata.num_warps, units)


def all_compiled(launches: list[Launch]) -> dict[str, tuple[Launch, Resources]]:
    """Each different kernel of the launches, compiled; two at a time."""
    different = {key(each): each for each in launches}
    with ThreadPoolExecutor(2) as pool:
        return dict(
            zip(different, zip(different.values(), pool.map(compiled, different.values()), strict=True), strict=True)
        )


_TYPES = {
    torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.int32: "i32", torch.int64: "i64",
}  # fmt: skip


def _specialised(launch: Launch) -> tuple[dict[str, Any], dict[str, Any], list[tuple[int, ...]]]:
    """Types by name, constants by name, and which arguments Triton takes for multiples of 16."""
    kernel = launch.kernel
    loose = set(kernel.do_not_specialize or ())
    signature: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    aligned: list[tuple[int, ...]] = []
    for place, (parameter, name) in enumerate(zip(kernel.params, kernel.arg_names, strict=True)):
        value = launch.arguments[name]
        if isinstance(value, torch.Tensor):
            signature[name] = f"*{_TYPES[value.dtype]}"
            aligned += [(place,)] if value.data_ptr() % 16 == 0 else []
        elif isinstance(value, tuple):
            signature[name] = tuple(f"*{_TYPES[each.dtype]}" for each in value)
            aligned += [(place, i) for i, each in enumerate(value) if each.data_ptr() % 16 == 0]
        elif parameter.is_constexpr or value is None or (value == 1 and name not in loose):
            signature[name], constants[name] = "constexpr", value
        else:
            signature[name] = "i32"
            aligned += [(place,)] if value % 16 == 0 and name not in loose else []
    return signature, constants, aligned


def _usage(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack of a thread."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], check=True, capture_output=True, text=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert found, text
    return int(found[1]), int(found[2])


def _modules() -> list[Any]:
    """Where kernels are launched."""
    names = [each.name for each in pkgutil.iter_modules(kernels.__path__)]
    modules = [importlib.import_module(f"{kernels.__name__}.{name}") for name in names]
    return [module for module in modules if hasattr(module, "launch")]
