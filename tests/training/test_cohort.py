"""The stacked program against a plain model, and runs that do not influence each other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sweeper import hyperparameters
from sweeper.batch_schedules import batch_sizes
from sweeper.seeds import seeds_of
from sweeper.spec.model import ModularArithmetic, Objective
from sweeper.training import draws
from sweeper.training.cohort import Cohort, Run, bucket
from sweeper.training.tasks.modular_arithmetic import build_table, split
from tests.training.reference import PlainTransformer

CPU = torch.device("cpu")


def make_run(replicate: int = 0, operation: str = "x_plus_y", modulus: int = 11, **settings: object) -> Run:
    task = ModularArithmetic(name="modular_arithmetic", operation=operation, modulus=modulus, degree=3)
    table = build_table(task, operation)
    seeds = seeds_of(replicate)
    flat = {"width": 16, "heads": 2, "depth": 2, "batch.max": 24, "learning_rate": 3e-3, "warmup_steps": 3} | settings
    plain = hyperparameters.canonical_form(hyperparameters.from_flat(flat), 200)
    return Run(operation, replicate, table, split(table, 0.5, seeds.data), plain, seeds)


def objective(**changes: object) -> Objective:
    return Objective(**({"horizon": 200, "evaluate_every": 10} | changes))


def cohort(runs: list[Run], sampled: bool = False, **changes: object) -> Cohort:
    return Cohort(runs, objective(**changes), sampled, CPU, dtype=torch.float64)


def train_plainly(run: Run, updates: int) -> PlainTransformer:
    """The same run with nn.Module, torch.optim.AdamW and nothing stacked."""
    s = run.settings
    model = PlainTransformer(run.table.vocabulary, run.table.classes, s.depth, s.width, s.heads).double()
    alone = Cohort([run], objective(), False, CPU, dtype=torch.float64)
    model.load_flat(alone.stack.flat[0].clone())
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=s.learning_rate, betas=s.betas, eps=s.epsilon, weight_decay=s.weight_decay
    )
    sizes = batch_sizes(s.batch, 200)
    seeds, count = torch.tensor([run.seeds.order]), torch.tensor([[len(run.split.train)]])
    for update in range(updates):
        optimiser.param_groups[0]["lr"] = s.learning_rate * min(update / s.warmup_steps, 1)
        drawn = draws.draw(seeds, draws.TRAIN, update, int(sizes[update]), count)[0]
        rows = run.split.train[drawn]
        loss = F.cross_entropy(model(run.table.tokens[rows]), run.table.targets[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("operation", ["x_plus_y", "x_div_y", "permutation"])
def test_training_agrees_with_a_plain_model_in_float64(depth: int, operation: str) -> None:
    run = make_run(operation=operation, depth=depth, heads=4)
    stacked = cohort([run])
    stacked.update(6)
    torch.testing.assert_close(stacked.stack.flat[0], train_plainly(run, 6).flat(), rtol=0, atol=1e-10)


def test_a_batch_that_grows_has_the_exact_gradients_of_the_batch_asked_for() -> None:
    growing = {"batch.shape": "linear", "batch.min": 5, "batch.max": 30, "batch.every": 1, "batch.period": 8}
    run, neighbour = make_run(**growing), make_run(replicate=1, **{"batch.max": 31})
    stacked = cohort([run, neighbour])
    stacked.update(10)
    for row, each in enumerate([run, neighbour]):
        torch.testing.assert_close(stacked.stack.flat[row], train_plainly(each, 10).flat(), rtol=0, atol=1e-10)


def test_runs_of_different_trials_and_operations_share_a_stack_without_influence() -> None:
    runs = [
        make_run(0, "x_plus_y", weight_decay=0.1),
        make_run(1, "x_minus_y", **{"learning_rate": 1e-3, "batch.max": 9}),
        make_run(2, "x_div_y", betas=(0.8, 0.9)),
    ]
    together = cohort(runs)
    together.update(5)
    for row, run in enumerate(runs):
        alone = cohort([run])
        alone.update(5)
        torch.testing.assert_close(together.stack.flat[row], alone.stack.flat[0], rtol=0, atol=1e-10)


def test_runs_that_leave_the_stack_do_not_change_the_others() -> None:
    # At this threshold the runs cross at different evaluations and leave one by one.
    ends = {"until": "train_accuracy > 0.3", "horizon": 200}
    runs = [make_run(replicate) for replicate in range(4)]
    together = list(cohort(runs, **ends).train())
    last_steps = {int(r): int(c["step"][0]) for c in together for r in c["replicate"]}
    assert len(set(last_steps.values())) > 1
    for run in runs:
        alone = list(cohort([run], **ends).train())
        mine = [c["val_loss"][c["replicate"] == run.replicate][0] for c in together if run.replicate in c["replicate"]]
        np.testing.assert_allclose([c["val_loss"][0] for c in alone], mine, rtol=1e-9)


def test_the_same_seed_gives_the_same_run_to_the_bit_and_another_seed_another() -> None:
    first, again = (list(cohort([make_run(3)], horizon=30).train()) for _ in range(2))
    other = list(cohort([make_run(4)], horizon=30).train())
    for one, two in zip(first, again, strict=True):
        assert {n: v.tolist() for n, v in one.items() if n != "seconds"} == {
            n: v.tolist() for n, v in two.items() if n != "seconds"
        }
    assert first[-1]["val_loss"][0] != other[-1]["val_loss"][0]


def test_an_evaluation_reports_the_whole_validation_set_and_the_diagnostics() -> None:
    run = make_run()
    stacked = cohort([run], horizon=20)
    *_, last = stacked.train()
    with torch.no_grad():
        model = PlainTransformer(run.table.vocabulary, run.table.classes, 2, 16, 2).double()
        model.load_flat(stacked.stack.flat[0])
        rows = run.split.validation
        logits = model(run.table.tokens[rows])
        assert last["val_loss"][0] == pytest.approx(F.cross_entropy(logits, run.table.targets[rows]).item(), rel=1e-9)
        right = (logits.argmax(1) == run.table.targets[rows]).double().mean().item()
        assert last["val_accuracy"][0] == pytest.approx(right)
    flat = model.flat()
    groups = [flat.norm(), torch.cat([model.token.weight.flatten(), model.position.weight.flatten()]).norm()]
    assert last["weight_norm"][0] == pytest.approx(groups[0].item())
    assert last["weight_norm_embedding"][0] == pytest.approx(groups[1].item())
    assert last["last_layer_norm"][0] == pytest.approx(model.linear.weight.norm().item())
    assert last["weight_norm_blocks"].shape == (1, 2)
    assert last["step"][0] == 20 and last["examples"][0] == 20 * 24 and last["batch_size"][0] == 24


def test_sampled_evaluation_uses_eight_batches_and_differs_from_the_whole() -> None:
    run = make_run(modulus=31)
    whole, sampled = (next(cohort([run], sampled=s).train()) for s in (False, True))
    assert whole["val_loss"][0] != sampled["val_loss"][0]
    correct = sampled["val_accuracy"][0] * 8 * 24
    assert correct == pytest.approx(round(correct))


def test_a_run_that_diverges_ends_at_once_and_leaves_its_neighbour_alone() -> None:
    wild, calm = make_run(0, learning_rate=100.0, weight_decay=100.0), make_run(1)
    evaluations = list(cohort([wild, calm], horizon=50).train())
    rows = [int(np.sum(c["replicate"] == 0)) for c in evaluations]
    assert not np.isfinite(evaluations[rows.index(0) - 1]["train_loss"][0])
    alone = list(cohort([calm], horizon=50).train())
    assert evaluations[-1]["val_loss"][-1] == pytest.approx(alone[-1]["val_loss"][0], rel=1e-9)


def test_parameter_count_and_initial_scale_are_the_published_ones() -> None:
    run = make_run(modulus=97, width=128, heads=4)
    row = Cohort([run], objective(), False, CPU).stack.flat[0]
    torch.manual_seed(0)
    published = PlainTransformer(99, 97, 2, 128, 4)
    assert len(row) == 422_625
    ours = PlainTransformer(99, 97, 2, 128, 4)
    ours.load_flat(row)
    for mine, theirs in zip(ours.in_flat_order(), published.in_flat_order(), strict=True):
        assert mine.std(correction=0).item() == pytest.approx(theirs.std(correction=0).item(), rel=0.15, abs=1e-9)


def test_the_adaptive_schedule_moves_the_batch_within_its_bounds() -> None:
    adaptive = {"batch.shape": "noise_scale", "batch.min": 8, "batch.max": 64, "batch.every": 5}
    sizes = [int(c["batch_size"][0]) for c in cohort([make_run(**adaptive)], horizon=200).train()]
    assert min(sizes) >= 8 and max(sizes) <= 64 and len(set(sizes)) > 1


def test_buckets_are_never_too_small_and_at_most_a_quarter_too_large() -> None:
    for size in range(1, 5000):
        assert size <= bucket(size) <= max(size * 1.25, size + 1)
    assert bucket(512) == 512 and bucket(513) == 640
