"""Benchmarks run outside CI; what they import from the package, and from one another, is there."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))


@cache
def names(module: str) -> frozenset[str] | None:
    """What a module of the repository defines or imports, and the modules in it; None where it is no such module."""
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not file.is_file():
        return None
    found = {path.stem for path in place.glob("*")} if place.is_dir() else set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        for part in ast.walk(node):
            if isinstance(part, ast.Import | ast.ImportFrom):
                found |= {each.asname or each.name for each in part.names}
            elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                found.add(part.id)
    return frozenset(found)


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: str(path.relative_to(ROOT / "benchmarks")))
def test_what_a_benchmark_imports_is_there(path: Path) -> None:
    missing = []
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] in ("sweeper", "benchmarks", "tests")
        ):
            there = names(node.module)
            lacking = [each.name for each in node.names if there is None or each.name not in there]
            missing += [f"{node.module}.{name}" for name in lacking if names(f"{node.module}.{name}") is None]
    assert not missing
