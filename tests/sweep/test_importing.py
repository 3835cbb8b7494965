"""Configurations of other tuners become points to start from, and what cannot be taken is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeper.config.loading import load
from sweeper.errors import SpecError, UserError
from sweeper.sweep.importing import import_points, sentences
from tests.cli.test_main import command, folder
from tests.fakes.sweeps import QUESTION, Sweep
from tests.fakes.training import always, learns

__all__ = ["command", "folder"]
Command = Callable[..., tuple[int, str, str]]
SPACE = """\
name: warm
task: {name: modular_arithmetic, operation: x_plus_y, modulus: 31}
objective: {horizon: 100, evaluate_every: 10, replicates: 2}
search:
  learning_rate: {float: [0.0001, 0.01], log: true}   # of the last paper
  batch.max: {int: [16, 256], log: true}
  heads: {choice: [1, 2, 4]}
fixed: {width: 32, depth: 1}
budget: {trials: 4}
"""


@pytest.fixture
def space(folder: Path) -> Path:
    path = folder / "space.yaml"
    path.write_text(SPACE)
    return path


def studied(storage: Any) -> None:
    """A study of six trials, the larger value the better: one is pruned, one failed, one outside, two the same."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=storage, study_name="old", direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        lr = (0.001, 0.002, 0.5, 0.004, 0.004, 0.003)[trial.number]
        trial.suggest_float("lr", lr, lr)
        trial.suggest_int("batch_size", 64, 64)
        trial.suggest_categorical("heads", [2])
        trial.suggest_float("dropout", 0.1, 0.1)
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 5:
            raise ValueError
        return (0.8, 0, 0.99, 0.9, 0.7, 0)[trial.number]

    study.optimize(objective, n_trials=6, catch=ValueError)


EXPECTED = [
    {"learning_rate": 0.004, "batch.max": 64, "heads": 2},
    {"learning_rate": 0.001, "batch.max": 64, "heads": 2},
]


@pytest.mark.slow
def test_an_optuna_study_in_a_journal_or_in_sqlite(space: Path, command: Command) -> None:
    studied(JournalStorage(JournalFileBackend("old.journal")))
    studied("sqlite:///old.db")
    for source in ("old.journal", "old.db", "sqlite:///old.db"):
        before = Path(source.removeprefix("sqlite:///")).read_bytes()
        found = import_points(source, space)
        assert [point.values for point in found.points] == EXPECTED
        assert [(point.name, point.value) for point in found.points] == [("optuna-3", -0.9), ("optuna-0", -0.8)]
        assert sentences(found) == [
            "2 of 6 trials are points to start from",
            "  not taken: 1 with learning_rate outside [0.0001, 0.01]",
            "  not taken: 1 the same as a better one",
            "  not taken: 1 pruned",
            "  not taken: 1 fail",
            "  without a place here: dropout (no hyperparameter of that name; --map NAME=OURS gives it one)",
        ]
        assert Path(source.removeprefix("sqlite:///")).read_bytes() == before, "read only"
    code, out, err = command("import", "old.db", "space.yaml", "--best", "1", "-o", "warm.yaml")
    assert code == 0 and err.startswith("1 of 6 trials are points") and "wrote warm.yaml" in out
    text = Path("warm.yaml").read_text()
    assert text.startswith(SPACE) and text.endswith("heads: 2}  # optuna-3: -0.9\n"), "comments stay"
    assert load(Path("warm.yaml")).spec.start == EXPECTED[:1]
    code, _, err = command("import", "old.db", "warm.yaml", "-o", "other.yaml")
    assert code == 2 and "warm.yaml:10: has a section start already" in err


@pytest.mark.slow
def test_a_study_that_cannot_be_meant_is_refused(space: Path, command: Command) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(storage="sqlite:///two.db", study_name="one")
    optuna.create_study(storage="sqlite:///two.db", study_name="pareto", directions=["minimize", "minimize"])
    Path("empty.db").write_bytes(b"SQLite format 3\0" + b"\0" * 100)
    Path("words.txt").write_text("words")
    sweep = Sweep(space.parent / "mine", {"budget": {"trials": 1}})
    sweep.root.mkdir()
    sweep.launch(learns(always(20)))
    for words, said in (
        (("two.db",), "holds several studies; give --study with one of one, pareto"),
        (("two.db", "--study", "onee"), "no study 'onee' (did you mean 'one'?)"),
        (("two.db", "--study", "pareto"), "pareto has 2 objectives; allowed is one"),
        (("two.db", "--study", "one"), "none of 0 trials can be taken"),
        (("empty.db",), "cannot be read as an Optuna storage"),
        (("words.txt",), "neither an Optuna journal, nor SQLite"),
        (("absent",), "does not exist; give an Optuna journal or SQLite file"),
        ((str(sweep.folder.journal),), "is the study of a sweep"),
        (("two.db", "--map", "lr=learning_rat"), "unknown hyperparameter (did you mean 'learning_rate'?)"),
        (("two.db", "--map", "lr"), "--map lr: write THEIRS=OURS"),
    ):
        code, _, err = command("import", words[0], "space.yaml", *words[1:])
        assert code == 2 and said in err.replace("\n", " "), (words, err)


def test_a_folder_of_ray_tunes_results_is_read_without_it(space: Path) -> None:
    """The files are those that Tune 2.60 leaves; the last trial was killed while it wrote."""
    for number, (lr, batch) in enumerate(((0.001, 32), (0.01, 64), (0.002, 1000), (0.003, 64.0))):
        trial = Path("exp") / f"f_0bc_0000{number}_{number}_batch={batch}_2026-11-28"
        trial.mkdir(parents=True)
        (trial / "params.json").write_text(json.dumps({"opt": {"lr": lr}, "batch_size": batch, "width": 64}))
        results = [{"val_loss": lr * 10 / step, "training_iteration": step, "done": False, "pid": 7} for step in (1, 2)]
        lines = [json.dumps(each | {"config": {"opt": {"lr": lr}}}) for each in results]
        (trial / "result.json").write_text("\n".join(lines if number < 3 else [lines[0], lines[1][:9]]))
    (Path("exp") / "f_0bc_00004" / "result").mkdir(parents=True)
    failed = Path("exp") / "f_0bc_00005"
    failed.mkdir()
    (failed / "params.json").write_text('{"opt": {"lr": 0.001}, "batch_size": 16}')
    (failed / "result.json").write_text('{"val_loss": 0.0}')
    (failed / "error.txt").write_text("ValueError")
    (Path("exp") / "f_0bc_00004" / "params.json").write_text('{"opt": {"lr": 0.001}}')
    found = import_points("exp", space, names={"opt.lr": "learning_rate"})
    assert [(point.value, point.values) for point in found.points] == [
        (0.005, {"learning_rate": 0.001, "batch.max": 32}),
        (0.03, {"learning_rate": 0.003, "batch.max": 64}),
        (0.05, {"learning_rate": 0.01, "batch.max": 64}),
    ]
    assert found.left == {"failed": 1, "with batch.max outside [16, 256]": 1, "without a result": 1}
    assert found.unknown == {"width": "width is not searched"}


def test_a_table_of_weights_and_biases(space: Path, command: Command) -> None:
    Path("runs.csv").write_text(
        "Name,State,Created,config.lr,batch_size,heads,optimizer,val_acc,Runtime\n"
        "glad-1,finished,2026,1e-3,64,2,adamw,0.9,10\n"
        "sad-2,crashed,2026,1e-3,32,2,adamw,0.2,10\n"
        "odd-3,finished,2026,2e-3,many,2,adamw,0.8,10\n"
        "new-4,finished,2026,4e-3,128,4,sgd,0.95,10\n"
        "dry-5,finished,2026,4e-3,128,4,sgd,,10\n"
    )
    found = import_points("runs.csv", space)
    assert [(point.name, point.value, point.values) for point in found.points] == [
        ("new-4", -0.95, {"learning_rate": 0.004, "batch.max": 128, "heads": 4}),
        ("glad-1", -0.9, {"learning_rate": 0.001, "batch.max": 64, "heads": 2}),
    ]
    assert found.left == {"crashed": 1, "with batch_size = 'many', which batch.max cannot be": 1, "without a value": 1}
    code, out, err = command("import", "runs.csv", "space.yaml")
    assert (code, out.splitlines()[0]) == (0, "start:") and "2 of 5 trials" in err
    code, _, err = command("import", "runs.csv", "space.yaml", "--metric", "val_loss")
    assert code == 2 and "no 'val_loss'; give --metric with one of val_acc" in err.replace("\n", " ")
    Path("two.csv").write_text("lr,gain\n0.001,1\n")
    code, _, err = command("import", "two.csv", "space.yaml", "--metric", "gain")
    assert code == 2 and "is more or less of gain better? give --mode max or --mode min" in err


def test_the_search_begins_with_the_points_each_once(tmp_path: Path) -> None:
    start = [{"depth": 3, "heads": 2}, {"depth": 2, "heads": 4}, {"depth": 3, "heads": 2}, {"depth": 6}]
    sweep = Sweep(tmp_path, {"start": start, "baselines": {"b": {"depth": 2, "heads": 4}}, "budget": {"trials": 2}})
    sweep.launch(learns(always(20)))
    assert [(each.settings.depth, each.settings.heads) for each in sweep.trained] == [(2, 4), (3, 2)]
    sweep.changes = sweep.changes | {"budget": {"trials": 4}}
    sweep.launch(learns(always(20)))
    assert [each.settings.depth for each in sweep.trained[2:3]] == [6], "a larger budget goes on with them"
    assert [row["phase"] for row in sweep.rows()] == ["baseline", "search", "search", "search"]


def test_points_that_are_not_legal_are_named_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    for start, search, said in (
        ([{"depht": 2}], QUESTION["search"], "start[0].depht: unknown hyperparameter (did you mean 'depth'?)"),
        ([{"depth": 1}, {"depth": 0}], QUESTION["search"], "start[1].depth: got 0; it must be at least 1"),
        ([{"heads": 5}], QUESTION["search"], "start[0].heads: 5 heads do not divide width 32"),
        ([{"depth": 1}], {}, "start: there is no search to begin with it"),
    ):
        more = {} if search else {"baselines": {"b": {"depth": 1}}}
        path.write_text(json.dumps(QUESTION | {"start": start, "search": search} | more))
        with pytest.raises(SpecError) as refused:
            load(path)
        assert said in str(refused.value)


def test_nothing_legal_is_an_error_with_every_reason(space: Path) -> None:
    Path("bad.csv").write_text("lr,val_loss\n3,0.1\n4,0.2\n")
    with pytest.raises(UserError) as refused:
        import_points("bad.csv", space)
    assert str(refused.value).splitlines() == [
        "bad.csv: none of 2 trials can be taken",
        "  not taken: 2 with learning_rate outside [0.0001, 0.01]",
    ]
