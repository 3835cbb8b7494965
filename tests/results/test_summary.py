"""Rows of `runs` and `trials` from hand-made curves, whole rows at a time."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from sweeper.results.rows import columns
from sweeper.results.summary import TrialSummary, trial_row
from sweeper.space.hyperparameters import canonical_form, from_flat
from sweeper.stats.events import CUT_SHORT, FINISHED, Ending
from sweeper.trial import Assignment, seeds_of
from tests.fakes.curves import BATCH, DEVICE, FINISHED_AT, STARTED, Columns, assignment_of, curve, summary_of
from tests.fakes.tables import SCHEMAS, TASK


def row_of(summary: TrialSummary, phase: str = "search", name: str = "") -> dict[str, Any]:
    row = trial_row(
        summary, phase=phase, name=name, identity="an identity", settings=SETTINGS, known=TASK.hyperparameters
    )
    return columns(row)


def runs_of(summary: TrialSummary) -> list[dict[str, Any]]:
    """The rows in `runs`, without the columns that are null."""
    return [{name: each for name, each in columns(run.row).items() if each is not None} for run in summary.runs]


def comparable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in which NaN equals itself."""
    return {name: "nan" if isinstance(each, float) and math.isnan(each) else each for name, each in row.items()}


def only_run(assignment: Assignment, curves: Sequence[Columns], ending: Ending = FINISHED) -> dict[str, Any]:
    (row,) = runs_of(summary_of(assignment, curves, ending))
    return comparable(row)


def at(prefix: str, step: int) -> dict[str, Any]:
    """The three clocks of `curve` at a step."""
    return {f"{prefix}_steps": step, f"{prefix}_examples": step * BATCH, f"{prefix}_seconds": step / 100}


HEAD = {
    "trial": 7,
    "operation": "x_plus_y",
    "replicate": 0,
    "init_seed": seeds_of(0).init,
    "data_seed": seeds_of(0).data,
    "order_seed": seeds_of(0).order,
}


def test_a_run_that_reached_its_event() -> None:
    got = only_run(
        assignment_of(),
        [curve([0.1, 0.5, 0.92, 0.96, 0.995], train_accuracy=[0.5, 0.995, 1.0, 1.0, 1.0])],
    )
    assert got == {
        **HEAD,
        "outcome": "reached",
        "outcome_step": 50,
        "why": "",
        "best_metric": 0.995,
        **at("first", 50),
        **at("sustained", 50),
        **at("first_90", 30),
        **at("sustained_90", 30),
        **at("first_95", 40),
        **at("sustained_95", 40),
        **at("first_99", 50),
        **at("sustained_99", 50),
        "final_step": 50,
        "final_val_accuracy": 0.995,
        "final_val_loss": 2.0,
        "final_train_accuracy": 1.0,
        "final_train_loss": 1.0,
        "train_first_steps": 20,
        "gap_steps": 30,
        "gap_ratio": 2.5,
        "fell_back": False,
        "train_loss_spikes": 0,
        "label": "grokking",
    }


def test_a_sustained_event_counts_from_the_first_evaluation_of_its_streak() -> None:
    got = only_run(assignment_of(sustained=2), [curve([0.1, 0.995, 0.5, 0.96, 0.995, 1.0])])
    assert got == {
        **HEAD,
        "outcome": "reached",
        "outcome_step": 50,
        "why": "",
        "best_metric": 1.0,
        **at("first", 20),
        **at("sustained", 50),
        **at("first_90", 20),
        **at("sustained_90", 40),
        **at("first_95", 20),
        **at("sustained_95", 40),
        **at("first_99", 20),
        **at("sustained_99", 50),
        "final_step": 60,
        "final_val_accuracy": 1.0,
        "final_val_loss": 2.0,
        "final_train_accuracy": 1.0,
        "final_train_loss": 1.0,
        "train_first_steps": 20,
        "gap_steps": 0,
        "gap_ratio": 1.0,
        "fell_back": False,
        "train_loss_spikes": 0,
        "label": "comprehension",
    }


def test_a_run_censored_at_its_horizon() -> None:
    got = only_run(assignment_of(), [curve([0.1, 0.2, 0.3, 0.3, 0.91, 0.4], train_accuracy=[0.5] + [1.0] * 5)])
    assert got == {
        **HEAD,
        "outcome": "censored",
        "outcome_step": 60,
        "why": "horizon",
        "best_metric": 0.91,
        **at("first_90", 50),
        **at("sustained_90", 50),
        "final_step": 60,
        "final_val_accuracy": 0.4,
        "final_val_loss": 2.0,
        "final_train_accuracy": 1.0,
        "final_train_loss": 1.0,
        "train_first_steps": 20,
        "fell_back": False,
        "train_loss_spikes": 0,
        "label": "memorisation",
    }


def test_exactly_the_threshold_is_not_past_it() -> None:
    got = only_run(assignment_of(), [curve([0.1, 0.5, 0.9, 0.95, 0.99, 0.99])])
    assert got["outcome"] == "censored"
    assert "first_99_steps" not in got
    assert "train_first_steps" not in got
    assert got["first_90_steps"] == 40, "0.9 itself is not past 0.9"


def test_a_run_that_diverged() -> None:
    nan = math.nan
    got = only_run(assignment_of(), [curve([0.1, 0.2, 0.0], val_loss=[2.0, 2.0, nan], train_loss=[1.0, 1.0, nan])])
    assert got == {
        **HEAD,
        "outcome": "diverged",
        "outcome_step": 30,
        "why": "",
        "best_metric": 0.2,
        "final_step": 30,
        "final_val_accuracy": 0.0,
        "final_val_loss": "nan",
        "final_train_accuracy": 0.0,
        "final_train_loss": "nan",
        "fell_back": False,
        "train_loss_spikes": 0,
        "label": "confusion",
    }


@pytest.mark.parametrize(
    ("ending", "outcome", "why"),
    [
        (Ending("capped", "its value is at least 3.4; place 2 is at 3.3"), "censored", "cap"),
        (Ending("lost", "with 1 of 3 replicates its value is at least 3.4"), "censored", "race"),
        (Ending("pruned", "asha: val_accuracy is 0.1 at step 20"), "censored", "pruned"),
        (Ending("stopped", "Ctrl-C"), "censored", "stopped"),
        (Ending("failed", "out of memory", "Traceback ..."), "failed", "out of memory"),
    ],
)
def test_a_run_cut_short_keeps_its_last_step_and_why(ending: Ending, outcome: str, why: str) -> None:
    got = only_run(assignment_of(), [curve([0.1, 0.2], train_accuracy=[0.3, 0.4])], ending)
    assert got == {
        **HEAD,
        "outcome": outcome,
        "outcome_step": 20,
        "why": why,
        "best_metric": 0.2,
        "final_step": 20,
        "final_val_accuracy": 0.2,
        "final_val_loss": 2.0,
        "final_train_accuracy": 0.4,
        "final_train_loss": 1.0,
        "fell_back": False,
        "train_loss_spikes": 0,
        "label": "confusion",
    }


def test_a_trial_that_failed_at_once_has_a_row_for_every_run() -> None:
    failed = Ending("failed", "error", "Traceback ...")
    rows = runs_of(summary_of(assignment_of(replicates=(0, 1)), [], failed))
    assert rows == [
        {
            "trial": 7,
            "operation": "x_plus_y",
            "replicate": replicate,
            "init_seed": seeds_of(replicate).init,
            "data_seed": seeds_of(replicate).data,
            "order_seed": seeds_of(replicate).order,
            "outcome": "failed",
            "outcome_step": 0,
            "why": "error",
        }
        for replicate in (0, 1)
    ]


@pytest.mark.parametrize("ending", [Ending("capped"), Ending("stopped"), Ending("failed", "error")])
def test_what_had_happened_before_a_trial_was_cut_short_stays_what_it_was(ending: Ending) -> None:
    nan = math.nan
    curves = [
        curve([0.1, 1.0], replicate=0),
        curve([0.1, 0.1], replicate=1, train_loss=[1.0, nan], val_loss=[2.0, nan]),
        curve([0.1, 0.1, 0.1], replicate=2),
    ]
    rows = runs_of(summary_of(assignment_of(replicates=(0, 1, 2)), curves, ending))
    assert [(row["outcome"], row["outcome_step"]) for row in rows] == [
        ("reached", 20),
        ("diverged", 20),
        ("failed" if ending.kind == "failed" else "censored", 30),
    ]


def test_a_run_that_loses_what_it_had_learned_collapsed() -> None:
    got = only_run(assignment_of(sustained=3), [curve([0.1, 1.0, 1.0, 0.5, 0.5, 0.5])])
    assert (got["fell_back"], got["label"], got["outcome"]) == (True, "collapse", "censored")


def test_sudden_rises_of_the_training_loss_are_counted_once_each() -> None:
    calm = [1.0] * 30
    loss = [*calm, 6.0, 7.0, 1.0, 1.0, 5.5, 1.0, 4.9]
    got = only_run(assignment_of(horizon=1000), [curve([0.1] * len(loss), train_loss=loss)])
    assert got["train_loss_spikes"] == 2


SETTINGS = canonical_form(
    from_flat({"depth": 1, "weight_decay": 0.25, "batch.shape": "linear", "batch.min": 32, "batch.max": 64}), 60
)
SETTINGS_COLUMNS = {
    "depth": 1,
    "width": 128,
    "heads": 4,
    "feedforward": 4,
    "learning_rate": 1e-3,
    "betas": (0.9, 0.98),
    "epsilon": 1e-8,
    "weight_decay": 0.25,
    "warmup_steps": 50,
    "coupling": "none",
    "coupling_batch": None,
    "hold_decay": None,
    "batch_shape": "linear",
    "batch_min": 32,
    "batch_max": 64,
    "batch_direction": "rising",
    "batch_clock": "steps",
    "batch_period": 60,
    "batch_every": 10,
    "batch_power": None,
    "batch_curvature": None,
    "batch_cycles": None,
    "batch_doubling_steps": None,
    "batch_increment": None,
    "batch_stages": None,
    "batch_noise_fraction": None,
    "batch_noise_memory": None,
}


def test_the_row_of_a_trial_with_every_kind_of_outcome() -> None:
    nan = math.nan
    curves = [
        curve([0.1, 0.1, 1.0], replicate=0),
        curve([0.1, 0.1, 0.1, 0.1, 0.1, 0.5], replicate=1),
        curve([0.1, 0.1], replicate=2, train_loss=[1.0, nan], val_loss=[2.0, nan]),
    ]
    summary = summary_of(assignment_of(replicates=(0, 1, 2), settings=SETTINGS), curves)
    gaps = [(0.99 - 0.5) / 0.99, (0.99 - 0.1) / 0.99]
    missed = [60 * (1.001 + 0.008 * gap / (1 + gap)) for gap in gaps]
    assert row_of(summary) == {
        "trial": 7,
        "phase": "search",
        "name": "",
        "state": "finished",
        "runs": 3,
        "reached": 1,
        "censored": 1,
        "diverged": 1,
        "failed": 0,
        "rmst": pytest.approx(50.0),
        "rmst_error": pytest.approx(10.0),
        "rmst_by_operation": (("x_plus_y", 50.0),),
        "value": pytest.approx(math.log((30 + sum(missed)) / 3)),
        "bound": None,
        "steps_trained": 30 + 60 + 20,
        "seconds": 30.0,
        "retries": (),
        "started": STARTED,
        "finished": FINISHED_AT,
        "device": DEVICE,
        "why": "",
        "detail": "",
        "identity": "an identity",
        **SETTINGS_COLUMNS,
    }


def test_the_row_of_a_trial_that_failed_at_once() -> None:
    summary = summary_of(assignment_of(settings=SETTINGS), [], Ending("failed", "out of memory", "Traceback ..."))
    assert row_of(summary, "baseline", "published") == {
        "trial": 7,
        "phase": "baseline",
        "name": "published",
        "state": "failed",
        "runs": 1,
        "reached": 0,
        "censored": 0,
        "diverged": 0,
        "failed": 1,
        "rmst": pytest.approx(60.0),
        "rmst_error": None,
        "rmst_by_operation": (("x_plus_y", 60.0),),
        "value": pytest.approx(math.log(60 * 1.01)),
        "bound": None,
        "steps_trained": 0,
        "seconds": 30.0,
        "retries": (),
        "started": STARTED,
        "finished": FINISHED_AT,
        "device": "",
        "why": "out of memory",
        "detail": "Traceback ...",
        "identity": "an identity",
        **SETTINGS_COLUMNS,
    }


def test_with_one_operation_the_trial_has_exactly_the_mean_of_its_runs() -> None:
    """`where rmst < 7500` must not find trials that sit at the horizon."""
    for horizon in (60, 1000, 7500):
        row = row_of(summary_of(assignment_of(horizon=horizon), [curve([0.1] * 6)], limit=float(horizon)))
        assert row["rmst"] == horizon
        assert row["rmst_by_operation"] == (("x_plus_y", row["rmst"]),)


def test_several_operations_are_averaged_on_the_logarithm() -> None:
    assignment = assignment_of(replicates=(0, 1), operations=("x_plus_y", "x_minus_y"))
    curves = [
        curve([1.0], 0, "x_plus_y"),
        curve([0.1, 0.1, 1.0], 1, "x_plus_y"),
        curve([0.1, 0.1, 0.1, 1.0], 0, "x_minus_y"),
        curve([0.1, 0.1, 0.1, 0.1, 0.1, 1.0], 1, "x_minus_y"),
    ]
    row = row_of(summary_of(assignment, curves))
    mean = math.sqrt(20 * 50)
    assert row["rmst_by_operation"] == (("x_plus_y", 20.0), ("x_minus_y", 50.0))
    assert row["rmst"] == pytest.approx(mean)
    assert row["value"] == pytest.approx(math.log(mean))
    assert row["rmst_error"] == pytest.approx(mean * math.hypot(10 / 20, 10 / 50) / 2)
    assert (row["runs"], row["reached"]) == (4, 4)


def test_the_objective_follows_its_own_clock() -> None:
    assignment = assignment_of(minimize="examples")
    row = row_of(summary_of(assignment, [curve([0.1, 0.1, 1.0])], limit=60 * BATCH))
    assert row["rmst"] == pytest.approx(30 * BATCH)
    assert row["value"] == pytest.approx(math.log(30 * BATCH))


def test_a_falling_metric_can_be_the_event() -> None:
    got = only_run(assignment_of(until="val_loss < 0.5"), [curve([0.1] * 3, val_loss=[2.0, 0.6, 0.4])])
    assert (got["outcome"], got["outcome_step"], got["best_metric"]) == ("reached", 30, 0.4)


def test_trials_that_reached_rank_before_those_that_did_not_and_nearer_misses_before_farther_ones() -> None:
    nan = math.nan
    reached_late = summary_of(assignment_of(), [curve([0.1] * 5 + [1.0])])
    near = summary_of(assignment_of(), [curve([0.1] * 5 + [0.98])])
    far = summary_of(assignment_of(), [curve([0.1] * 6)])
    diverged = summary_of(assignment_of(), [curve([0.0], train_loss=[nan])])
    failed = summary_of(assignment_of(), [], Ending("failed", "error"))
    values = [each.value for each in (reached_late, near, far, diverged, failed)]
    assert values == sorted(values)
    assert len(set(values)) == len(values)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("kind", ["finished", "failed", *CUT_SHORT])
def test_a_trial_that_was_cut_short_has_the_bound_of_its_value(kind: Any) -> None:
    curves = [curve([0.1, 1.0], 0), curve([0.1, 0.1, 0.1, 0.1], 1)]
    row = row_of(summary_of(assignment_of(replicates=(0, 1)), curves, Ending(kind)))
    assert row["bound"] == (pytest.approx(math.log(30)) if kind in CUT_SHORT else None)
    assert row["value"] > math.log(30)


def test_every_value_has_a_column() -> None:
    """pyarrow drops keys that a schema does not know, without a word."""
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 100))
    late = np.arange(100) >= 50
    turned = curve(
        [0.1] * 98 + [1.0, 1.0],
        val_loss=np.where(late, 1.3, 3.0) * np.exp(noise[0]),
        train_loss=np.where(late, 1.6, 0.8) * np.exp(noise[1]),
    )
    summary = summary_of(assignment_of(sustained=2), [turned])
    (row,) = runs_of(summary)
    assert row.keys() == set(SCHEMAS["runs"].names)
    assert (row["inversion_start"], row["inversion_end"], row["inversion_explained"]) == (500, 510, ())
    assert row_of(summary).keys() == set(SCHEMAS["trials"].names)
