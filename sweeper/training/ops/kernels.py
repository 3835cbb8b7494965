"""The C kernels of `kernels.c`: compiled once for each kind of CPU, kept in the user's cache, loaded by any process.

A machine without a C compiler trains with torch's own operations instead, more slowly. Where torch brings its OpenMP
runtime under the usual name, the kernels run on torch's threads; elsewhere they have as many of their own.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch

SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ["-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared"]

enabled = True
"""Set to False to do without: for comparisons."""


class PlaceStruct(ctypes.Structure):
    """The C struct `place`."""

    _fields_ = (
        ("index", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("start", ctypes.c_int64),
        ("step", ctypes.c_int64),
    )


def serve(tensor: torch.Tensor) -> ctypes.CDLL | None:
    """The kernels, if they can work on this tensor: float32, on the CPU, and there are any."""
    if enabled and tensor.dtype == torch.float32 and tensor.device.type == "cpu":
        return library()
    return None


def use_threads(count: int) -> None:
    """Let kernels that this thread calls use that many threads."""
    if library() is not None:
        call("use_threads", count)


Argument = torch.Tensor | int | ctypes.Array[Any] | None


def call(name: str, *arguments: Argument) -> None:
    """Call a kernel: tensors pass as the addresses of their memory."""
    loaded = library()
    assert loaded is not None, "callers ask `serve` first"
    getattr(loaded, name)(*[each.data_ptr() if isinstance(each, torch.Tensor) else each for each in arguments])


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be had."""
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        compiler = shutil.which(name)
        loaded = _built_by(compiler) if compiler else None
        if loaded is not None:
            return loaded
    return None


def _built_by(compiler: str) -> ctypes.CDLL | None:
    try:
        path = cache_folder() / f"kernels-{_key(compiler)}.so"
        if not path.exists():
            _compile(compiler, path)
        loaded = ctypes.CDLL(str(path))
    # A user may have no home, a cache that cannot be written, a compiler that fails, or a file that is no library.
    except (OSError, RuntimeError, subprocess.CalledProcessError):
        return None
    for name, signature in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype = None
        function.argtypes = [_TYPES[letter] for letter in signature]
    return loaded


_TYPES = {"p": ctypes.c_void_p, "n": ctypes.c_int64}
_SIGNATURES = {
    "use_threads": "n",
    "gelu": "ppnppnnn",
    "gelu_backward": "ppppnnn",
    "add_norm": "pppppnpppnnn",
    "add_norm_backward": "ppppnppnnn",
    "attend": "pnppnpnpnnpnnnn",
    "attend_backward": "pnnpppnpppnpnnnnn",
    "cross_entropy": "ppppppnn",
    "adamw": "pppnppnpn",
    "spread": "pnppnnnnn",
    "spread_backward": "pnnpnpnnn",
    "round_bfloat16": "ppn",
}
"""The arguments of every kernel: pointers and whole numbers."""


def cache_folder() -> Path:
    """Where compiled kernels are kept: `$XDG_CACHE_HOME/sweeper`, or `~/.cache/sweeper`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sweeper"


def _key(compiler: str) -> str:
    """Names what the machine code depends on: source, flags, compiler and instruction set."""
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True).stdout
    cpu = Path("/proc/cpuinfo")
    text = cpu.read_text() if cpu.exists() else platform.processor()
    instructions = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), text[:200])
    parts = [
        SOURCE.read_bytes(),
        " ".join(_FLAGS).encode(),
        version,
        platform.machine().encode(),
        instructions.encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _compile(compiler: str, path: Path) -> None:
    """Compile beside the target and rename: processes that start together may all do it, and none sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        subprocess.run([compiler, *_FLAGS, str(SOURCE), "-o", str(built), "-lm"], check=True, capture_output=True)
        built.replace(path)
