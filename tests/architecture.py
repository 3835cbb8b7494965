"""Draws docs/architecture.md's picture from the floors contract: `python -m tests.architecture`."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sweeper"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- picture: python -m tests.architecture -->", "<!-- end of picture -->"


def floors() -> list[list[str]]:
    """The contract's layers, from the top; modules of one floor do not import each other."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    lines = parser["importlinter:contract:floors"]["layers"].split("\n")
    return [re.split(r"\s*\|\s*", line.strip()) for line in lines if line.strip()]


def rooms() -> set[str]:
    """Every folder of the package that holds code, and every file at its root, as paths below sweeper/."""
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")} - {"."}
    return {f"{folder}/" for folder in folders} | {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}


def drawn() -> str:
    """Everything between the markers: a Mermaid flowchart, one box a floor."""
    boxes = [f'  floor{number}["{"   |   ".join(floor)}"]' for number, floor in enumerate(floors())]
    chain = " --> ".join(f"floor{number}" for number in range(len(boxes)))
    return "\n".join([BEGIN, "```mermaid", "flowchart TB", *boxes, f"  {chain}", "```", END])


if __name__ == "__main__":
    text = PAGE.read_text()
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: drawn(), text, flags=re.DOTALL))
