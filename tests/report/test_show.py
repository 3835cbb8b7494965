"""One trial's page, as printed."""

from dataclasses import replace
from io import StringIO
from textwrap import dedent

import pytest
from rich.console import Console

from sweeper.report import show
from sweeper.report.select import choose
from tests.fakes.sweeps import Sweep


def printed(page: show.TrialPage, width: int = 120) -> str:
    console = Console(width=width, file=StringIO())
    console.print(show.render(page))
    assert isinstance(console.file, StringIO)
    return "\n" + "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


@pytest.mark.slow
def test_the_best_trial_with_its_confirmation(made_up_sweep: Sweep) -> None:
    assert printed(show.trial_page(choose(str(made_up_sweep.folder.root)))) == dedent("""
        trial 1, search: finished
        depth=1  heads=1
        2 of 2 runs reached the event; restricted mean 25 ± 5 steps; 50 model steps in 0 s on a made-up device
        on fresh seeds (trial 6): 7 of 7 runs reached the event; restricted mean 30 ± 3.1 steps

        operation  seed  outcome  step  train 99 %  best  label          val_accuracy
        x_plus_y      0  reached    20          20     1  comprehension      ▁▁▁▁█
        x_plus_y      1  reached    30          30     1  comprehension      ▁▁▁▁▁▁▁▁█
        x_plus_y   1000  reached    30          30     1  comprehension
        x_plus_y   1001  reached    40          40     1  comprehension
        x_plus_y   1002  reached    20          20     1  comprehension
        x_plus_y   1003  reached    30          30     1  comprehension
        x_plus_y   1004  reached    40          40     1  comprehension
        x_plus_y   1005  reached    20          20     1  comprehension
        x_plus_y   1006  reached    30          30     1  comprehension
        val_accuracy from step 0 to the horizon, 100: ▁ is 0.1, █ is 1
        """)


def test_a_trial_that_failed_shows_its_traceback(made_up_sweep: Sweep) -> None:
    page = printed(show.trial_page(choose(f"{made_up_sweep.folder.root}:4")))
    assert page.startswith(
        dedent("""
        trial 4, search: failed (error)
        depth=2  heads=1
        0 of 2 runs reached the event; 0 model steps in 0 s on no device

        operation  seed  outcome         step  train 99 %  best  label  val_accuracy
        x_plus_y      0  failed (error)     0           -     -
        x_plus_y      1  failed (error)     0           -     -

        Traceback (most recent call last):
        """)
    )
    assert page.endswith("ValueError: trial 4 cannot be trained\n")


HEIGHTS = {"x 0": [0.0, 1.0, float("nan"), 0.5], "x 1": [0.25] * 40}
RUNS = [
    {"trial": 7, "operation": "x", "replicate": i, "outcome": "reached", "why": "", "label": "comprehension"}
    | {"outcome_step": 1_390 + i, "train_first_steps": 1_200 + 100 * i, "best_metric": 1.0}
    for i in range(2)
]
ROW = {"trial": 7, "phase": "search", "state": "finished", "why": "", "depth": 2, "reached": 2, "runs": 2}
ROW |= {"rmst": 1_390.5, "rmst_error": 0.5, "steps_trained": 2_781, "seconds": 12.0, "device": "cpu", "retries": []}
PAGE = show.TrialPage(
    "trial 7", ROW | {"detail": ""}, None, RUNS, HEIGHTS, ("depth",), "steps", "val_accuracy", 1_500, "99 %"
)


@pytest.mark.parametrize("width", [120, 100, 80, 60, 40])
def test_no_number_is_lost_on_a_narrow_terminal(width: int) -> None:
    found = printed(PAGE, width)
    assert "…" not in found
    assert max(map(len, found.splitlines())) <= width
    for number in ("1,390", "1,391", "1,200", "1,300", "2,781", "x", "comprehension", "reached"):
        assert number in found


def test_courses_are_scaled_alike_and_the_scale_is_said() -> None:
    wide, narrow = printed(PAGE), printed(PAGE, 70)
    assert "comprehension  ▁█ ▅\n" in wide
    assert f"comprehension  {'▃' * 40}\n" in wide
    assert "val_accuracy from step 0 to the horizon, 1,500: ▁ is 0, █ is 1\n" in wide
    assert "operation" in wide and "all runs here: operation=x" in narrow
    level = replace(PAGE, rises={"x 1": [0.25]})
    assert "1,500: 0.25 throughout\n" in printed(level)
