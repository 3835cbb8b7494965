"""Draws docs/architecture.md's picture from the floors contract and the imports: `python -m tests.architecture`."""

import configparser
import re
from collections import defaultdict
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- picture: python -m tests.architecture -->", "<!-- end of picture -->"


def floors() -> list[list[str]]:
    """The contract's layers, from the top; modules of one floor do not import each other."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    lines = parser["importlinter:contract:floors"]["layers"].split("\n")
    return [re.split(r"\s*\|\s*", line.strip()) for line in lines if line.strip()]


def imports() -> dict[str, set[str]]:
    """Module of a floor -> the modules it imports."""
    graph = grimp.build_graph("sweeper", cache_dir=None)
    found: dict[str, set[str]] = defaultdict(set)
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            upper, lower = (f"{name}.".split(".")[1] for name in (importer, imported))
            if upper and lower and upper != lower:
                found[upper].add(lower)
    return found


def picture() -> str:
    """A Mermaid flowchart: floors as boxes from top to bottom, one arrow for each pair of modules that import."""
    lines = ["```mermaid", "flowchart TB"]
    for number, floor in enumerate(floors()):
        lines.append(f'  subgraph floor{number}[" "]')
        lines.append("    direction LR")
        lines += [f"    {module.strip('_')}[{module}]" for module in floor]
        lines.append("  end")
    order = {module: (i, j) for i, floor in enumerate(floors()) for j, module in enumerate(floor)}
    for upper in sorted(imports(), key=order.__getitem__):
        lines += [
            f"  {upper.strip('_')} --> {lower.strip('_')}" for lower in sorted(imports()[upper], key=order.__getitem__)
        ]
    return "\n".join([*lines, "```"])


def rows() -> str:
    """The same as a table, top floor first."""
    found = imports()
    lines = ["| floor | module | imports |", "|---|---|---|"]
    for number, floor in enumerate(reversed(floors())):
        for module in floor:
            below = ", ".join(f"`{each}`" for each in sorted(found[module])) or "nothing of ours"
            lines.insert(2, f"| {number} | `{module}` | {below} |")
    return "\n".join(lines)


def drawn() -> str:
    """Everything between the markers."""
    return f"{BEGIN}\n{picture()}\n\n{rows()}\n{END}"


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: drawn(), text, flags=re.DOTALL))
