"""One trial's page, as printed."""

from io import StringIO
from textwrap import dedent

import pytest
from rich.console import Console

from sweeper.report import show
from sweeper.report.select import choose
from tests.fakes.sweeps import Sweep


def printed(page: show.TrialPage) -> str:
    console = Console(width=120, file=StringIO())
    console.print(show.render(page))
    assert isinstance(console.file, StringIO)
    return "\n" + "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


@pytest.mark.slow
def test_the_best_trial_with_its_confirmation(made_up_sweep: Sweep) -> None:
    assert printed(show.trial_page(choose(str(made_up_sweep.folder.root)))) == dedent("""
        trial 1, search: finished
        depth=1  heads=1
        2 of 2 runs reached the event; restricted mean 25 ± 5; 50 model steps in 0 s on a made-up device
        on fresh seeds (trial 6): 7 of 7, restricted mean 30

        operation  seed  outcome  step  train 99 %  best  label          from step 0 to the horizon
        x_plus_y      0  reached    20          20     1  comprehension      ▁▁▁▁█
        x_plus_y      1  reached    30          30     1  comprehension      ▁▁▁▁▁▁▁▁█
        x_plus_y   1000  reached    30          30     1  comprehension
        x_plus_y   1001  reached    40          40     1  comprehension
        x_plus_y   1002  reached    20          20     1  comprehension
        x_plus_y   1003  reached    30          30     1  comprehension
        x_plus_y   1004  reached    40          40     1  comprehension
        x_plus_y   1005  reached    20          20     1  comprehension
        x_plus_y   1006  reached    30          30     1  comprehension
        """)


def test_a_trial_that_failed_shows_its_traceback(made_up_sweep: Sweep) -> None:
    page = printed(show.trial_page(choose(f"{made_up_sweep.folder.root}:4")))
    assert page.startswith(
        dedent("""
        trial 4, search: failed (error)
        depth=2  heads=1
        0 of 2 runs reached the event; restricted mean 100 ± 0; 0 model steps in 0 s on no device

        operation  seed  outcome         step  train 99 %  best  label  from step 0 to the horizon
        x_plus_y      0  failed (error)     0           -     -
        x_plus_y      1  failed (error)     0           -     -

        Traceback (most recent call last):
        """)
    )
    assert page.endswith("ValueError: trial 4 cannot be trained\n")


@pytest.mark.parametrize(
    ("heights", "expected"),
    [([], ""), ([0.5], "▁"), ([0.0, 1.0, float("nan"), 0.5], "▁█ ▅")],
)
def test_bars_go_from_the_least_to_the_greatest(heights: list[float], expected: str) -> None:
    assert show._bars(heights) == expected
