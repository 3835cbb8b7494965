"""One configuration trained again, alone: for real, in this process."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.api import Sweep, launch, load
from sweeper.errors import UserError
from sweeper.sweep.options import LaunchOptions
from sweeper.sweep.retrain import train
from tests.fakes import small
from tests.fakes.modules import Folder, folder

__all__ = ["folder"]
LOOP = """
    import torch


    class Halves(LoopTask):
        def train(self, run):
            loss = torch.rand(1, generator=torch.Generator().manual_seed(run.seeds.init)).item() + 1
            for update in range(1, len(run.batch_sizes) + 1):
                loss /= 2
                if run.evaluates(update):
                    yield {"train_loss": loss, "val_loss": loss}
"""
SPACE = """\
name: halves
task: {name: halves:Halves}
objective: {until: val_loss < 0.01, horizon: 20, evaluate_every: 1, replicates: 2}
search: {learning_rate: {choice: [0.1, 0.2]}}
sampler: {name: grid}
budget: {trials: 1}
"""


HERE = LaunchOptions(where="here", console=Console(file=StringIO(), width=160))


def quiet() -> Console:
    return Console(file=StringIO(), width=160)


@pytest.mark.slow
def test_a_trial_is_trained_again_on_more_seeds_with_a_tail_and_its_parameters_are_kept(tmp_path: Path) -> None:
    before = launch(small.write(tmp_path), ["budget.trials=1"], where="here", console=quiet())
    trial = f"{before.folder}:published"
    again = Sweep(train(trial, 3, 10, options=HERE))
    assert again.folder == before.folder.parent / "small-published"
    assert (again.spec.objective.replicates, again.spec.objective.tail) == (3, 10)
    times = "SELECT replicate, outcome_step, final_step FROM runs ORDER BY replicate"
    first, more = before.query(times), again.query(times)
    assert more["outcome_step"].tolist()[:2] == first["outcome_step"].tolist(), "the same seeds"
    assert (more["final_step"] - more["outcome_step"] >= 10).all() and len(more) == 3
    scores = again.validate("published", replicate=2)
    at = again.query("SELECT val_loss FROM curves WHERE replicate = 2 ORDER BY step DESC LIMIT 1")
    assert scores["val_loss"] == at["val_loss"][0], "those at the end"
    train(trial, 3, 10, options=HERE)
    with pytest.raises(UserError, match=r"small:published: this is not what .*small-published began with"):
        train(trial, 4, 10, options=HERE)


@pytest.mark.slow
def test_a_loop_without_a_module_is_trained_again_and_nothing_is_kept(folder: Folder) -> None:
    folder.module("halves", LOOP)
    before = launch(folder.space("halves:Halves", SPACE), where="here", console=quiet())
    again = Sweep(train(str(before.folder), 4, options=HERE))
    assert (again.spec.keep, len(again.runs)) == (None, 4)
    assert isinstance(HERE.console, Console) and isinstance(HERE.console.file, StringIO)
    last = HERE.console.file.getvalue().splitlines()[-1]
    shown = f"sweeper show {again.folder}:trial-0"
    assert last == f"trial 0 of {before.folder} is trial 0 here, the baseline trial-0: {shown}"
    assert again.trial("trial-0").data.label == "trial-0"
    loaded = load(before.folder)
    assert isinstance(loaded, Sweep)
    with pytest.raises(UserError, match="its parameters are not kept; none are"):
        loaded.model(0)
