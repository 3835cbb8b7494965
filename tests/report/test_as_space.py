"""A trial's configuration as a space: it loads, and means the same configuration."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.config.loading import check, load
from sweeper.config.reader import parse
from sweeper.errors import UserError
from sweeper.report.as_space import _name, space_of, text
from sweeper.report.select import choose
from sweeper.space.hyperparameters import identity
from tests.fakes.curves import chunk_of, curve
from tests.fakes.sweeps import Sweep, made_up
from tests.fakes.training import always, learns

SCHEDULES = {
    "search": {
        "batch.shape": {"choice": ["linear", "step", "cyclic", "noise_scale", "constant"]},
        "coupling": {"choice": ["none", "sqrt"]},
    },
    "fixed": {"batch.stages": [[0, 16], [20, 64]], "batch.min": 8, "batch.max": 64, "betas": [0.9, 0.95]},
    "require": ["batch.min <= batch.max"],
    "budget": {"trials": 10},
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return made_up(tmp_path_factory.mktemp("sweep"))


@pytest.mark.slow
def test_the_space_of_a_trial_asks_the_same_of_one_configuration(sweep: Sweep) -> None:
    printed = text(choose(f"{sweep.folder.root}:3"))
    comment, *lines = printed.splitlines()
    assert comment == "# made-up, trial 3 (finished): 2 of 2 runs reached the event, restricted mean 25."
    assert lines[0] == "name: made-up-3"
    loaded = check(parse(printed.encode(), "printed"))
    before = load(sweep.root / "space.yaml")
    spec = loaded.spec
    assert (spec.task, spec.objective) == (before.spec.task, before.spec.objective)
    assert (list(spec.baselines), spec.search, spec.budget.trials, spec.confirm) == (["trial-3"], {}, 1, None)
    (row,) = (row for row in sweep.rows() if row["trial"] == 3)
    assert identity(loaded.space.settings(spec.baselines["trial-3"]), 100) == row["identity"]
    assert Path(spec.results).resolve() == sweep.folder.root.parent.resolve()


def test_a_baseline_keeps_its_name_and_the_best_is_meant_without_a_number(sweep: Sweep) -> None:
    assert space_of(choose(f"{sweep.folder.root}:published")).data["name"] == "made-up-published"
    assert list(space_of(choose(f"{sweep.folder.root}:published")).data["baselines"]) == ["published"]
    assert list(space_of(choose(str(sweep.folder.root))).data["baselines"]) == ["trial-1"]


@pytest.mark.slow
def test_every_kind_of_schedule_comes_back(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, SCHEDULES)
    sweep.launch(learns(always(30)))
    rows = sweep.rows()
    assert {row["batch_shape"] for row in rows} == {"linear", "step", "cyclic", "noise_scale", "constant"}
    for row in rows:
        document = space_of(choose(f"{sweep.folder.root}:{row['trial']}"))
        loaded = check(document)
        (values,) = loaded.spec.baselines.values()
        assert identity(loaded.space.settings(values), 100) == row["identity"], row


def test_a_row_that_does_not_belong_to_the_space_is_refused(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {"budget": {"trials": 1}})
    sweep.launch(lambda assignment: iter([chunk_of(*(curve([1.0], each) for each in assignment.replicates))]))
    sweep.folder.space.write_text(sweep.folder.space.read_text().replace('"horizon": 100', '"horizon": 90'))
    chosen = choose(f"{sweep.folder.root}:0")
    changed: dict[str, Any] = {**chosen.row, "depth": 4}
    object.__setattr__(chosen, "row", changed)
    with pytest.raises(UserError, match="does not give the configuration that was trained"):
        space_of(chosen)


@pytest.mark.parametrize(
    ("sweep_name", "label", "name"),
    [("quickstart", "23", "quickstart-23"), ("s" * 100, "1234", f"{'s' * 95}-1234"), (".odd one", "2", "sodd-one-2")],
)
def test_its_name_is_a_legal_one(sweep_name: str, label: str, name: str) -> None:
    assert _name(sweep_name, label) == name
