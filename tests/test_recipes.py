"""Every query and every program in results/README.md runs, on tables that the writer made of synthetic curves."""

import math
import re
import shlex
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from sweeper.config.loading import Loaded, load
from sweeper.folder.layout import SweepFolder
from sweeper.results.query import query
from sweeper.results.summary import summarise, trial_row
from sweeper.results.writer import Writer
from sweeper.space.hyperparameters import Hyperparameters, identity
from sweeper.stats.events import FINISHED, Ending
from sweeper.sweep.director import CONFIRMATION_REPLICATES
from sweeper.trial import Assignment
from tests.fakes.tables import MODULAR, TASK

ROOT = Path(__file__).parent.parent
README = (ROOT / "results" / "README.md").read_text()
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
COMMANDS = [shlex.split(block) for language, block in BLOCKS if language == "sh"]
PROGRAMS = [block for language, block in BLOCKS if language == "python"]
QUERIES = [words[-1] for words in COMMANDS if words[:3] == ["sweeper", "query", "results/quickstart"]]


@dataclass(frozen=True)
class Told:
    """A trial of the tale: when its replicates reach the event; NaN diverges, and past the horizon is never."""

    phase: str
    name: str
    settings: Hyperparameters
    arrivals: list[float]
    ending: Ending = FINISHED


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep in results/quickstart: nine trials that ended in every way there is."""
    root = tmp_path_factory.mktemp("home")
    folder = SweepFolder(root / "results" / "quickstart")
    folder.root.mkdir(parents=True)
    space = ROOT / "search_spaces" / "quickstart.yaml"
    shutil.copy(space, folder.space)
    loaded, writer = load(space), Writer(folder, {"host": "example"}, MODULAR)
    baseline, *found = configurations(loaded)
    trials = [
        Told("baseline", "constant-128", baseline, [800, 900, 1000]),
        Told("search", "", found[0], [600, 700, 650]),
        Told("search", "", found[1], [1200, 9999, 1500]),
        Told("search", "", found[2], [9999, 9999, 9999], Ending("capped", "its value is at least 7.5")),
        Told("search", "", found[3], [700, 750, 9999]),
        Told("search", "", found[4], [], Ending("failed", "error", "trace")),
        Told("search", "", found[5], [math.nan, 1100, 1300]),
        Told("confirm", "1", found[0], [650, 680, 710, 740]),
        Told("confirm", "0", baseline, [820, 850, 940, 990]),
    ]
    for number, trial in enumerate(trials):
        put(writer, loaded, number, trial)
    writer.close()
    return root


@pytest.mark.slow
def test_the_file_has_its_recipes() -> None:
    assert len(QUERIES) >= 8
    assert len(QUERIES) + 1 == len(COMMANDS)
    assert {name for name in ("pandas", "pyarrow", "duckdb") if any(f"import {name}" in each for each in PROGRAMS)} == {
        "pandas",
        "pyarrow",
        "duckdb",
    }


@pytest.mark.parametrize("sql", QUERIES, ids=range(len(QUERIES)))
def test_the_query_runs_and_finds_something(sql: str, home: Path) -> None:
    assert query(SweepFolder(home / "results" / "quickstart"), sql).num_rows > 0


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_the_program_runs(
    program: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    exec(compile(program, "results/README.md", "exec"), {})
    assert capsys.readouterr().out


def test_the_query_over_every_sweep_runs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = (words for words in COMMANDS if words[:2] == ["duckdb", "-c"])
    monkeypatch.chdir(home)
    assert len(duckdb.connect().execute(command[2]).fetchall()) == 9


def test_the_drawing_of_the_folder_is_true(home: Path) -> None:
    (drawing,) = re.findall(r"^results/quickstart/\n((?:  .*\n)+)", README, re.MULTILINE)
    drawn = {line.split()[0] for line in drawing.splitlines()}
    folder = SweepFolder(home / "results" / "quickstart")
    assert {each for each in drawn if list(folder.root.glob(each))} == {
        "space.yaml",
        "trials/part-*.parquet",
        "runs/part-*.parquet",
        "curves/part-*.parquet",
    }
    assert {folder.root / each for each in drawn if "*" not in each} == {
        folder.space,
        folder.provenance,
        folder.journal,
        folder.labels,
        folder.lock,
        folder.status,
        folder.report,
        folder.stop_request,
    }


def answer(home: Path, title: str) -> list[dict[str, Any]]:
    """The rows of the recipe whose paragraph starts with a title."""
    paragraph = README[README.index(f"**{title}") :]
    (block,) = re.findall(r"```sh\n(.*?)```", paragraph, re.DOTALL)[:1]
    rows: list[dict[str, Any]] = query(SweepFolder(home / "results" / "quickstart"), shlex.split(block)[-1]).to_pylist()
    return rows


def test_the_best_trial_comes_first(home: Path) -> None:
    best, *others = answer(home, "The ten best trials")
    assert (best["trial"], best["reached"], best["mean_steps"]) == (1, "3/3", 650)
    assert len(others) == 6


def test_confirmations_are_matched_with_their_trials(home: Path) -> None:
    rows = [(row["trial"], row["name"], row["in_search"], row["confirmed"]) for row in answer(home, "Was the winner")]
    assert rows == [(1, "", 650, 695), (0, "constant-128", 900, 900)]


def test_pairs_are_made_by_seed(home: Path) -> None:
    first = answer(home, "Against the baseline")[0]
    ratio = np.exp(np.mean(np.log([600 / 800, 700 / 900, 650 / 1000])))
    assert (first["trial"], first["pairs"]) == (1, 3)
    assert first["ratio"] == pytest.approx(ratio, abs=1e-3)


def test_the_survival_curve_is_kaplan_meier(home: Path) -> None:
    rows = answer(home, "The survival curve")
    # 14 runs of the search were seen to reach the event or to be censored; three were capped at step 1000.
    assert [(row["step"], row["at_risk"], row["events"]) for row in rows] == [
        (600, 14, 1),
        (650, 13, 1),
        (700, 12, 2),
        (750, 10, 1),
        (1000, 9, 0),
        (1100, 6, 1),
        (1200, 5, 1),
        (1300, 4, 1),
        (1500, 3, 1),
    ]
    assert [row["not_yet"] for row in rows[:5]] == [round(n / 14, 3) for n in (13, 12, 10, 9, 9)]
    assert rows[-1]["not_yet"] == pytest.approx(9 / 14 * (2 / 6), abs=1e-3)


def test_capping_is_credited_with_the_steps_to_the_horizon(home: Path) -> None:
    saved = {row["state"]: row["saved_at_most"] for row in answer(home, "What capping saved")}
    assert saved == {"capped": 1500, "failed": 0, "finished": 0}


def test_failures_and_divergences_are_listed(home: Path) -> None:
    rows = [(row["trial"], row["state"], row["diverged"], row["detail"]) for row in answer(home, "What went wrong")]
    assert rows == [(5, "failed", 0, "trace"), (6, "finished", 1, "")]


def configurations(loaded: Loaded) -> list[Hyperparameters]:
    """The baseline and six configurations of the quickstart's space."""
    (baseline,) = loaded.spec.baselines.values()
    coordinates = [
        {
            "batch.shape": i % 4,
            "batch.min": 32 + 8 * i,
            "batch.max": 100 + 10 * i,
            "weight_decay": 0.3 + 0.1 * i,
            "depth": 1 + i % 2,
            "heads": i % 3,
        }
        for i in range(6)
    ]
    return [loaded.space.settings(values) for values in (baseline, *map(loaded.space.decode, coordinates))]


def put(writer: Writer, loaded: Loaded, number: int, told: Told) -> None:
    """Write a trial as the director does."""
    objective = loaded.spec.objective
    first = CONFIRMATION_REPLICATES if told.phase == "confirm" else 0
    replicates = tuple(range(first, first + max(len(told.arrivals), 3)))
    assignment = Assignment(number, told.settings, loaded.spec.task, objective, replicates, cpu=1.0)
    last = 1000 if told.ending.kind == "capped" else objective.horizon
    runs = [curve(*run, last, told.settings.depth) for run in zip(replicates, told.arrivals, strict=False)]
    columns = {key: np.concatenate([run[key] for run in runs]) for key in runs[0]} if runs else {}
    started = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    summary = summarise(
        assignment,
        columns=columns,
        ending=told.ending,
        limit=float(objective.horizon),
        started=started,
        finished=started + timedelta(seconds=9),
        seconds=9.0,
        device="cpu",
    )
    name = identity(told.settings, objective.horizon)
    row = trial_row(
        summary,
        phase=told.phase,
        name=told.name,
        identity=name,
        settings=told.settings,
        known=TASK.hyperparameters,
    )
    writer.put(columns, [run.row for run in summary.runs], row)


def curve(replicate: int, arrival: float, last: int, depth: int) -> dict[str, np.ndarray[Any, Any]]:
    """Training accuracy rises first, validation accuracy jumps at `arrival`; one row each ten steps."""
    diverges = math.isnan(arrival)
    arrival = 400 if diverges else arrival
    step = np.arange(10, last + 1, 10)
    step = step[: int(np.searchsorted(step, arrival)) + 1]
    rows = len(step)
    val_accuracy = np.where(step >= arrival, 0.995, 0.03 + 0.3 * step / last)
    val_loss = 4 * (1 - val_accuracy)
    if diverges:
        val_accuracy[-1], val_loss[-1] = 0.1, np.inf
    norm = 60 - 20 * step / last
    return {
        "operation": np.full(rows, "x_plus_y"),
        "replicate": np.full(rows, replicate),
        "step": step,
        "examples": step * 128,
        "seconds": step * 0.004,
        "val_accuracy": val_accuracy,
        "val_loss": val_loss,
        "train_accuracy": np.minimum(step / 250, 1.0),
        "train_loss": np.exp(-step / 100),
        "batch_size": np.full(rows, 128),
        "learning_rate": np.full(rows, 3e-3),
        "gradient_norm": 1 / step,
        "weight_norm": norm,
        "weight_norm_embedding": norm / 3,
        "weight_norm_head": norm / 4,
        "last_layer_norm": norm / 5,
        "weight_norm_blocks": np.stack([norm / 2] * depth, axis=1),
        "saturated": np.zeros(rows),
    }
