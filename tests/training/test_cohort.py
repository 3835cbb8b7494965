"""The stacked program against a plain model, and runs that do not influence each other."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sweeper.space.batch_schedules import batch_sizes
from sweeper.stats.events import FINISHED, Outcome
from sweeper.stats.watch import outcome_of
from sweeper.training import rng
from sweeper.training.cohort import Cohort
from sweeper.training.graphs import Graphs
from sweeper.training.learners.learner import Run
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner, Split, Table, build_table, split
from sweeper.training.ops import kernels
from sweeper.training.techniques import Techniques, smaller_stack_pays
from tests.fakes.recorder import Recording
from tests.fakes.reference import PlainTransformer
from tests.fakes.runs import CPU, make_run, objective, task

RATES = [3e-2, 1e-2, 5e-3, 3e-3, 1e-3, 100.0]


def examples(run: Run) -> tuple[Table, Split]:
    table = build_table(task(), run.operation)
    return table, split(table, 0.5, run.seeds.data)


def cohort(runs: list[Run], sampled: bool = False, modulus: int = 11, **changes: object) -> Cohort:
    return Cohort(
        ModularArithmeticLearner(task(modulus, sampled)), runs, objective(**changes), CPU, dtype=torch.float64
    )


def train_plainly(run: Run, updates: int) -> PlainTransformer:
    """The same run with nn.Module, torch.optim.AdamW and nothing stacked."""
    s = run.settings
    table, parts = examples(run)
    model = PlainTransformer(table.vocabulary, table.classes, s.depth, s.width, s.heads).double()
    model.load_flat(cohort([run]).parameters.values[0].clone())
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=s.learning_rate, betas=s.betas, eps=s.epsilon, weight_decay=s.weight_decay
    )
    sizes = batch_sizes(s.batch, 200)
    seeds, count = torch.tensor([run.seeds.order]), torch.tensor([[len(parts.train)]])
    for update in range(updates):
        optimiser.param_groups[0]["lr"] = s.learning_rate * min(update / s.warmup_steps, 1)
        drawn = rng.draw(seeds, rng.TRAIN, update, int(sizes[update]), count)[0]
        rows = parts.train[drawn]
        loss = F.cross_entropy(model(table.tokens[rows]), table.targets[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("operation", ["x_plus_y", "x_div_y", "permutation"])
def test_training_agrees_with_a_plain_model_in_float64(depth: int, operation: str) -> None:
    run = make_run(operation=operation, depth=depth, heads=4)
    stacked = cohort([run])
    stacked.update(6)
    torch.testing.assert_close(stacked.parameters.values[0], train_plainly(run, 6).flat(), rtol=0, atol=1e-10)


def test_a_batch_that_grows_has_the_exact_gradients_of_the_batch_asked_for() -> None:
    growing = {"batch.shape": "linear", "batch.min": 5, "batch.max": 30, "batch.every": 1, "batch.period": 8}
    run, neighbour = make_run(**growing), make_run(replicate=1, **{"batch.max": 31})
    stacked = cohort([run, neighbour])
    stacked.update(10)
    for row, each in enumerate([run, neighbour]):
        torch.testing.assert_close(stacked.parameters.values[row], train_plainly(each, 10).flat(), rtol=0, atol=1e-10)


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
        torch.testing.assert_close(together.parameters.values[row], alone.parameters.values[0], rtol=0, atol=1e-10)


@pytest.mark.slow
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


@pytest.mark.slow
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
    table, parts = examples(run)
    with torch.no_grad():
        model = PlainTransformer(table.vocabulary, table.classes, 2, 16, 2).double()
        model.load_flat(stacked.parameters.values[0])
        rows = parts.validation
        logits = model(table.tokens[rows])
        assert last["val_loss"][0] == pytest.approx(F.cross_entropy(logits, table.targets[rows]).item(), rel=1e-9)
        right = (logits.argmax(1) == table.targets[rows]).double().mean().item()
        assert last["val_accuracy"][0] == pytest.approx(right)
    flat = model.flat()
    groups = [flat.norm(), torch.cat([model.token.weight.flatten(), model.position.weight.flatten()]).norm()]
    assert last["weight_norm"][0] == pytest.approx(groups[0].item())
    assert last["weight_norm_embedding"][0] == pytest.approx(groups[1].item())
    assert last["last_layer_norm"][0] == pytest.approx(model.linear.weight.norm().item())
    assert last["weight_norm_blocks"].shape == (1, 2)
    assert last["step"][0] == 20 and last["examples"][0] == 20 * 24 and last["batch_size"][0] == 24


def test_sampled_evaluation_uses_eight_batches_and_differs_from_the_whole() -> None:
    run = make_run()
    whole, sampled = (next(cohort([run], sampled=s, modulus=31).train()) for s in (False, True))
    assert whole["val_loss"][0] != sampled["val_loss"][0]
    correct = sampled["val_accuracy"][0] * 8 * 24
    assert correct == pytest.approx(round(correct))


@pytest.mark.slow
def test_a_run_that_diverges_ends_at_once_and_leaves_its_neighbour_alone() -> None:
    wild, calm = make_run(0, learning_rate=100.0, weight_decay=100.0), make_run(1)
    evaluations = list(cohort([wild, calm], horizon=50).train())
    rows = [int(np.sum(c["replicate"] == 0)) for c in evaluations]
    assert not np.isfinite(evaluations[rows.index(0) - 1]["train_loss"][0])
    alone = list(cohort([calm], horizon=50).train())
    assert evaluations[-1]["val_loss"][-1] == pytest.approx(alone[-1]["val_loss"][0], rel=1e-9)


def test_parameter_count_and_initial_scale_are_the_published_ones() -> None:
    run = make_run(width=128, heads=4)
    row = Cohort(ModularArithmeticLearner(task(97)), [run], objective(), CPU).parameters.values[0]
    torch.manual_seed(0)
    published = PlainTransformer(99, 97, 2, 128, 4)
    assert len(row) == 422_625
    ours = PlainTransformer(99, 97, 2, 128, 4)
    ours.load_flat(row)
    for mine, theirs in zip(ours.in_flat_order(), published.in_flat_order(), strict=True):
        assert mine.std(correction=0).item() == pytest.approx(theirs.std(correction=0).item(), rel=0.15, abs=1e-9)


@pytest.mark.slow
def test_the_adaptive_schedule_moves_the_batch_within_its_bounds() -> None:
    adaptive = {"batch.shape": "noise_scale", "batch.min": 8, "batch.max": 64, "batch.every": 5}
    sizes = [int(c["batch_size"][0]) for c in cohort([make_run(**adaptive)], horizon=200).train()]
    assert min(sizes) >= 8 and max(sizes) <= 64 and len(set(sizes)) > 1


# ---- what makes it fast changes nothing


Curve = dict[str, list[Any]]

SCHEDULES: list[dict[str, object]] = [
    {},
    {"batch.shape": "linear", "batch.min": 3, "batch.max": 40, "batch.every": 1, "batch.period": 30},
    {"batch.shape": "linear", "batch.min": 3, "batch.max": 24, "batch.direction": "falling", "batch.period": 25},
    {"batch.shape": "doubling", "batch.min": 4, "batch.max": 50, "batch.doubling_steps": 7},
    {"batch.shape": "cyclic", "batch.min": 6, "batch.max": 20, "batch.cycles": 3},
    {"batch.shape": "noise_scale", "batch.min": 8, "batch.max": 64, "batch.every": 5},
]


@pytest.fixture
def without_kernels() -> Iterator[None]:
    """Torch's own operations instead of the kernels."""
    before, kernels.enabled = kernels.enabled, False
    yield
    kernels.enabled = before


def curves_of(trained: Cohort) -> dict[int, Curve]:
    """Replicate -> the columns of its evaluations, but for the time that they took."""
    found: dict[int, Curve] = {}
    for columns in trained.train():
        for row, replicate in enumerate(columns["replicate"].tolist()):
            for name, values in columns.items():
                if name != "seconds":
                    found.setdefault(replicate, {}).setdefault(name, []).append(values[row].tolist())
    return found


def assert_same_curve(found: Curve, expected: Curve, rtol: float, ignore: tuple[str, ...] = ()) -> None:
    assert found.keys() == expected.keys()
    for name in expected.keys() - set(ignore):
        if name == "operation":
            assert found[name] == expected[name]
        else:
            np.testing.assert_allclose(found[name], expected[name], rtol=rtol, atol=rtol, err_msg=name)


def assert_changes_no_curve(technique: str, runs: list[Run], sampled: bool = False) -> None:
    used, unused = (
        curves_of(
            Cohort(
                ModularArithmeticLearner(task(sampled=sampled)),
                runs,
                objective(horizon=20),
                CPU,
                dtype=torch.float64,
                techniques=Techniques(**{technique: on}),
            )
        )
        for on in (True, False)
    )
    for replicate, curve in used.items():
        assert_same_curve(curve, unused[replicate], 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["x_plus_y", "permutation"])
def test_sharing_rows_changes_no_curve(operation: str) -> None:
    assert_changes_no_curve("share", [make_run(n, operation, **SCHEDULES[n]) for n in (0, 1)])


@pytest.mark.parametrize("sampled", [False, True])
def test_merging_repeated_examples_changes_no_curve(sampled: bool) -> None:
    # Of 36 examples, batches of up to 40 hold many twice.
    assert_changes_no_curve("merge", [make_run(n, "permutation", **SCHEDULES[n]) for n in (0, 1)], sampled)


def test_asking_for_graphs_on_a_cpu_changes_no_bit() -> None:
    asked, not_asked = (
        curves_of(
            Cohort(
                ModularArithmeticLearner(task()),
                [make_run()],
                objective(horizon=20),
                CPU,
                techniques=Techniques(graphs=graphs),
            )
        )
        for graphs in (True, False)
    )
    assert asked == not_asked


@pytest.mark.slow
@pytest.mark.skipif(kernels.library() is None, reason="no C compiler made the kernels")
@pytest.mark.parametrize("operation", ["x_plus_y", "permutation"])
def test_training_by_kernels_is_training_without_them_up_to_float32(
    operation: str, request: pytest.FixtureRequest
) -> None:
    runs = [make_run(n, operation, **SCHEDULES[n]) for n in (0, 3, 5)]
    by_kernels = curves_of(Cohort(ModularArithmeticLearner(task()), runs, objective(horizon=20, evaluate_every=5), CPU))
    request.getfixturevalue("without_kernels")
    assert kernels.serve(torch.zeros(1)) is None
    by_torch = curves_of(Cohort(ModularArithmeticLearner(task()), runs, objective(horizon=20, evaluate_every=5), CPU))
    in_float64 = curves_of(cohort(runs, horizon=20, evaluate_every=5))
    for replicate, curve in by_torch.items():
        assert_same_curve(by_kernels[replicate], curve, 1e-4)
        assert_same_curve(by_kernels[replicate], in_float64[replicate], 1e-4)
    assert by_kernels != by_torch


@pytest.mark.slow
def test_runs_of_different_batch_schedules_are_each_what_they_are_alone() -> None:
    runs = [make_run(n, **schedule) for n, schedule in enumerate(SCHEDULES)]
    together = curves_of(cohort(runs, horizon=20, evaluate_every=5))
    assert len({tuple(curve["batch_size"]) for curve in together.values()}) == len(SCHEDULES)
    for run in runs:
        alone = curves_of(cohort([run], horizon=20, evaluate_every=5))
        assert_same_curve(together[run.replicate], alone[run.replicate], 1e-8)


# ---- precision


@pytest.mark.slow
def test_bfloat16_gives_other_numbers_and_learns_as_much() -> None:
    runs = [make_run(0)]
    exact, rounded = (
        curves_of(Cohort(ModularArithmeticLearner(task()), runs, objective(horizon=80), CPU, precision=precision))
        for precision in ("float32", "bfloat16")
    )
    for replicate, curve in rounded.items():
        assert curve["train_loss"] != exact[replicate]["train_loss"]
        # From log(11) = 2.4, chance.
        assert curve["train_loss"][0] > 2.3 and curve["train_loss"][-1] < 2.0
        np.testing.assert_allclose(curve["train_loss"], exact[replicate]["train_loss"], rtol=0.02)


@pytest.mark.slow
def test_runs_in_bfloat16_do_not_influence_each_other() -> None:
    runs = [make_run(0), make_run(1, **SCHEDULES[1])]
    together = curves_of(
        Cohort(ModularArithmeticLearner(task()), runs, objective(horizon=20), CPU, precision="bfloat16")
    )
    for run in runs:
        alone = curves_of(
            Cohort(ModularArithmeticLearner(task()), [run], objective(horizon=20), CPU, precision="bfloat16")
        )
        assert_same_curve(
            together[run.replicate], alone[run.replicate], 1e-2, ignore=("train_accuracy", "val_accuracy")
        )


# ---- the tail


ENDS = {"until": "train_accuracy > 0.3", "horizon": 120, "evaluate_every": 5}
"""Replicates 0, 1 and 2 cross at different evaluations; replicate 1 falls back soon after."""


@pytest.fixture(scope="module")
def with_and_without() -> dict[int, dict[int, Curve]]:
    """Tail -> replicate -> curve, of three runs in one stack."""
    return {tail: curves_of(cohort([make_run(n) for n in range(3)], tail=tail, **ENDS)) for tail in (0, 30)}


def outcome(curve: Curve, **changes: object) -> Outcome:
    values = np.array(curve["train_accuracy"])
    finite = np.isfinite(curve["train_loss"]) & np.isfinite(curve["val_loss"])
    return outcome_of(objective(**(ENDS | changes)).event, np.array(curve["step"]), values, finite, FINISHED)


@pytest.mark.slow
def test_a_run_stays_as_many_updates_after_its_event_as_the_tail_says(
    with_and_without: dict[int, dict[int, Curve]],
) -> None:
    for replicate, bare in with_and_without[0].items():
        assert with_and_without[30][replicate]["step"][-1] == bare["step"][-1] + 30
    assert len({bare["step"][-1] for bare in with_and_without[0].values()}) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("tail", "longer"), [(6, 10), (1000, 20)])
def test_a_tail_ends_at_the_next_evaluation_and_at_the_horizon(
    tail: int, longer: int, with_and_without: dict[int, dict[int, Curve]]
) -> None:
    event = with_and_without[0][1]["step"][-1]
    ends = ENDS | {"horizon": event + 20, "tail": tail}
    assert curves_of(cohort([make_run(1)], **ends))[1]["step"][-1] == event + longer


@pytest.mark.slow
def test_a_tail_changes_no_outcome(with_and_without: dict[int, dict[int, Curve]]) -> None:
    for curves in with_and_without.values():
        for replicate, bare in with_and_without[0].items():
            assert outcome(curves[replicate]) == outcome(bare) == Outcome("reached", bare["step"][-1])


def test_a_tail_adds_evaluations_and_changes_none_before_it(with_and_without: dict[int, dict[int, Curve]]) -> None:
    for replicate, bare in with_and_without[0].items():
        longer = with_and_without[30][replicate]
        begun = {name: values[: len(bare["step"])] for name, values in longer.items()}
        # Another run leaves the stack at another time, and sums are taken in another order.
        assert_same_curve(begun, bare, 1e-8)


def test_a_run_that_falls_back_in_its_tail_stays_to_its_end(with_and_without: dict[int, dict[int, Curve]]) -> None:
    curve = with_and_without[30][1]
    event = curve["step"].index(outcome(curve).step)
    assert min(curve["train_accuracy"][event:]) < 0.3 < curve["train_accuracy"][event]
    assert curve["step"][-1] == curve["step"][event] + 30


@pytest.mark.slow
def test_a_run_beside_runs_in_their_tails_is_what_it_is_alone(with_and_without: dict[int, dict[int, Curve]]) -> None:
    # Replicate 2 trains while 1 is in its tail and has left, and in its own tail beside 0.
    alone = curves_of(cohort([make_run(2)], tail=30, **ENDS))[2]
    assert_same_curve(with_and_without[30][2], alone, 1e-8)


@pytest.mark.slow
def test_a_tail_begins_where_a_sustained_event_is_known() -> None:
    sustained: dict[str, object] = {"sustained": 2, "tail": 10}
    curve = curves_of(cohort([make_run(1)], **(ENDS | sustained)))[1]
    past = np.array(curve["train_accuracy"]) > 0.3
    known = int(np.flatnonzero(past[1:] & past[:-1])[0]) + 1
    assert curve["step"][-1] == curve["step"][known] + 10
    assert outcome(curve, **sustained) == Outcome("reached", curve["step"][known - 1])


def test_a_run_that_diverges_in_its_tail_ends_there_and_has_reached_its_event() -> None:
    wild = make_run(0, learning_rate=100.0, weight_decay=100.0)
    ends = {"until": "train_loss > 0", "horizon": 50, "tail": 40, "evaluate_every": 1}
    curve = curves_of(cohort([wild], **ends))[0]
    finite = np.isfinite(curve["train_loss"]) & np.isfinite(curve["val_loss"])
    assert 1 < curve["step"][-1] < 41 and not finite[-1] and finite[:-1].all()
    event = objective(**ends).event
    found = outcome_of(event, np.array(curve["step"]), np.array(curve["train_loss"]), finite, FINISHED)
    assert found == Outcome("reached", 1)


@pytest.mark.slow
def test_runs_that_are_over_may_keep_their_places_and_no_bit_of_any_other_changes() -> None:
    """As on a GPU, where graphs are captured anew for a smaller stack: at most at every halving."""
    runs = [make_run(number, **{"batch.max": 12, "learning_rate": rate}) for number, rate in enumerate(RATES)]
    asked = objective(horizon=60, evaluate_every=5, until="val_loss < 3.265")

    def trained(places: bool) -> tuple[dict[int, list[dict[str, Any]]], int]:
        techniques = Techniques(merge=False, places=places)
        stack = Cohort(ModularArithmeticLearner(task(23)), runs, asked, CPU, techniques=techniques)
        graphs = stack._graphs = Graphs(CPU, recorder=Recording())
        found: dict[int, list[dict[str, Any]]] = {}
        sizes = []
        while stack.training:
            columns = stack.evaluate()
            sizes.append(len(stack.parameters.values))
            for row, replicate in enumerate(columns["replicate"].tolist()):
                kept = {name: each[row].tolist() for name, each in columns.items() if name != "seconds"}
                found.setdefault(replicate, []).append(kept)
        assert sizes == sorted(sizes, reverse=True)
        return found, graphs.captures.count

    (kept, few), (dropped, many) = trained(True), trained(False)
    ends = [len(kept[number]) for number in range(len(RATES))]
    assert len(set(ends)) > 3, f"they end at different times: {ends}"
    assert repr(kept) == repr(dropped)
    assert few < many


@pytest.mark.slow
def test_a_trial_that_leaves_or_joins_a_stack_with_vacant_places_changes_no_bit_of_the_others() -> None:
    asked, learner = objective(horizon=30, evaluate_every=5), ModularArithmeticLearner(task(23))

    def stack(trial: int, *numbers: int) -> Cohort:
        runs = [make_run(number, **{"batch.max": 12}) for number in numbers]
        return Cohort(learner, runs, asked, CPU, techniques=Techniques(merge=False, places=True), trial=trial)

    alone = [columns["val_loss"].tolist() for columns in stack(0, 0, 1, 2).train()]
    together = stack(0, 0, 1, 2)
    together.join(stack(1, 3))
    found = [together.evaluate()]
    together.leave(1)
    assert (len(together.parameters.values), together.trials) == (4, [0, 0, 0])
    found.append(together.evaluate())
    state = together.state(0)
    assert state["numbers"] == [0, 1, 2]
    together.join(stack(2, 4, 5))
    assert together.trials == [0, 0, 0, 2, 2]
    found += together.train()
    mine = [each["val_loss"][np.isin(each["replicate"], [0, 1, 2])].tolist() for each in found]
    assert mine[: len(alone)] == alone


def test_in_a_stack_of_r_places_that_empties_one_by_one_there_are_log_r_smaller_ones() -> None:
    places, sizes = 24, [24]
    for running in range(24, 0, -1):
        if smaller_stack_pays(running, places):
            places = running
            sizes.append(places)
    assert sizes == [24, 12, 6, 3, 1]
