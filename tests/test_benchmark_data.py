"""The table of real curves that benchmarks search: whole, and as its pages say."""

import re
import shlex
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sweeper.folder.layout import SweepFolder
from sweeper.report.replay import render, replay

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "benchmarks" / "data" / "modular-23"


def test_every_configuration_was_trained_on_every_seed_to_its_event_or_the_horizon() -> None:
    runs, trials = pd.read_parquet(TABLE / "runs"), pd.read_parquet(TABLE / "trials")
    assert len(trials) == trials["identity"].nunique() == 192
    assert set(trials["state"]) == {"finished"}
    assert set(runs.groupby(["trial", "operation"])["replicate"].apply(tuple)) == {(0, 1, 2, 3, 4)}
    assert len(runs) == 192 * 3 * 5
    censored = runs[runs["outcome"] != "reached"]
    assert set(censored["outcome"]) == {"censored"}
    assert set(censored["outcome_step"]) == {2000}
    steps = pd.read_parquet(TABLE / "curves").groupby(["trial", "operation", "replicate"])["step"]
    assert (steps.count() * 20 == steps.max()).all(), "an evaluation every 20 steps"
    assert (steps.max().to_numpy() == runs.sort_values(["trial", "operation", "replicate"])["outcome_step"]).all()


def test_the_page_counts_right() -> None:
    page = (TABLE.parent / "README.md").read_text()
    runs = pd.read_parquet(TABLE / "runs")
    reached = runs[runs["outcome"] == "reached"].groupby("operation")["first_steps"]
    for operation, sign in (("x_plus_y", "x + y"), ("x_minus_y", "x - y"), ("x_div_y", "x / y")):
        count, mean = reached.count()[operation], reached.mean()[operation]
        assert re.search(rf"{count}\b.* for {re.escape(sign)} \((mean )?{mean:,.0f}\b", page.replace("\n", " ")), sign
    assert f"{reached.count().sum() / len(runs):.0%}".replace("%", " %") in page


@pytest.mark.slow
def test_the_replay_in_the_docs_is_what_is_printed() -> None:
    page = (ROOT / "docs" / "search.md").read_text()
    found = re.search(r"\$ (sweeper replay benchmarks/data/modular-23)\n(.*?)```", page, re.DOTALL)
    assert found is not None
    assert shlex.split(found[1])[-1] == str(TABLE.relative_to(ROOT))
    console = Console(width=120, file=StringIO())
    console.print(render(replay(SweepFolder(TABLE))))
    assert isinstance(console.file, StringIO)
    printed = "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
    assert printed == found[2].rstrip()
