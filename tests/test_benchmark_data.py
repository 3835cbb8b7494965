"""The tables of real curves that benchmarks search: whole, and as their pages say."""

import re
import shlex
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sweeper.config.loading import load
from sweeper.folder.layout import SweepFolder
from sweeper.report.replay import render, replay

ROOT = Path(__file__).parent.parent
DATA = ROOT / "benchmarks" / "data"
TABLE = DATA / "modular-23"


@pytest.mark.parametrize("name", ["modular-23", "modular-43"])
def test_every_configuration_was_trained_on_every_seed_to_its_event_or_the_horizon(name: str) -> None:
    spec = load(DATA / name / "space.yaml").spec
    runs, trials = pd.read_parquet(DATA / name / "runs"), pd.read_parquet(DATA / name / "trials")
    assert len(trials) == trials["identity"].nunique() == spec.budget.trials
    assert set(trials["state"]) == {"finished"}
    replicates = spec.objective.replicates
    assert set(runs.groupby(["trial", "operation"])["replicate"].apply(tuple)) == {tuple(range(replicates))}
    assert len(runs) == len(trials) * len(spec.task.operations) * replicates
    censored = runs[runs["outcome"] != "reached"]
    assert set(censored["outcome"]) == {"censored"}
    assert set(censored["outcome_step"]) == {spec.objective.horizon}
    steps = pd.read_parquet(DATA / name / "curves").groupby(["trial", "operation", "replicate"])["step"]
    assert (steps.count() * 20 == steps.max()).all(), "an evaluation every 20 steps"
    assert (steps.max().to_numpy() == runs.sort_values(["trial", "operation", "replicate"])["outcome_step"]).all()


def test_the_page_counts_right() -> None:
    first, second = (DATA / "README.md").read_text().replace("\n", " ").split("## modular-43")
    runs = pd.read_parquet(TABLE / "runs")
    reached = runs[runs["outcome"] == "reached"].groupby("operation")["first_steps"]
    for operation, sign in (("x_plus_y", "x + y"), ("x_minus_y", "x - y"), ("x_div_y", "x / y")):
        count, mean = reached.count()[operation], reached.mean()[operation]
        assert re.search(rf"{count}\b.* for {re.escape(sign)} \((mean )?{mean:,.0f}\b", first), sign
    assert f"{reached.count().sum() / len(runs):.0%}".replace("%", " %") in first
    runs = pd.read_parquet(DATA / "modular-43" / "runs")
    times = runs.loc[runs["outcome"] == "reached", "first_steps"]
    share = f"{len(times) / len(runs):.0%}".replace("%", " %")
    assert (
        f"{share} of the runs, {len(times)} of {len(runs)}, reached the event (mean {times.mean():,.0f} steps)"
        in second
    )


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
