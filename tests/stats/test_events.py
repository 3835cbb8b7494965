"""Events read from text, crossings of curves, and endings."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.stats.events import CLOCKS, FINISHED, Ending, Event, Outcome

NAN = math.nan
ABOVE = Event("val_accuracy", ">", 0.99)


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("val_accuracy > 0.99", Event("val_accuracy", ">", 0.99)),
        ("val_accuracy>0.99", Event("val_accuracy", ">", 0.99)),
        ("  val_loss  <  .5  ", Event("val_loss", "<", 0.5)),
        ("val_loss < 1e-3", Event("val_loss", "<", 1e-3)),
        ("val_loss < 1.5E+2", Event("val_loss", "<", 150.0)),
        ("val_loss < 2.", Event("val_loss", "<", 2.0)),
        ("_m2 > -1", Event("_m2", ">", -1.0)),
        ("m > +3", Event("m", ">", 3.0)),
    ],
)
def test_an_event_is_read_from_its_text(text: str, event: Event) -> None:
    assert Event.parse(text) == event
    assert Event.parse(text, 4) == event.at(event.threshold, 4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "val_accuracy",
        "val_accuracy >",
        "> 0.99",
        "0.99 < val_accuracy",
        "val_accuracy >= 0.99",
        "val_accuracy == 0.99",
        "val_accuracy > 99%",
        "val_accuracy > high",
        "val_accuracy > nan",
        "val_accuracy > inf",
        "val_accuracy > 0.99 or val_loss < 1",
        "val accuracy > 0.99",
        "val.accuracy > 0.99",
        "2m > 1",
        "val_accuracy > 0,99",
        "val_accuracy > 1e",
        "val_accuracy > .",
        "val_accuracy > - 1",
        "val_accuracy > 0.99\nx",
    ],
)
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"write a metric, > or <, and a number, as in 'val_accuracy > 0\.99'"
    ) as error:
        Event.parse(text)
    assert str(error.value).startswith(f"got {text!r}; ")


def test_a_value_must_be_strictly_past_the_threshold_and_nan_never_is() -> None:
    values = [0.98, 0.99, 0.991, NAN, math.inf, -math.inf]
    assert ABOVE.holds(values).tolist() == [False, False, True, False, True, False]
    assert Event("m", "<", 0.99).holds(values).tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("values", "sustained", "index"),
    [
        ([], 1, None),
        ([0.5, 0.9], 1, None),
        ([1.0], 1, 0),
        ([0.5, 1.0, 0.5, 1.0], 1, 1),
        ([0.5, 1.0, 0.5, 1.0, 1.0], 2, 3),
        ([1.0, 1.0, 0.5, 1.0, 1.0, 1.0], 3, 3),
        ([1.0, 1.0, 0.5, 1.0, 1.0], 3, None),
        ([0.99, 0.99], 1, None),
        ([1.0, NAN, 1.0, 1.0], 2, 2),
        ([NAN, NAN, 1.0], 1, 2),
        ([NAN], 1, None),
    ],
)
def test_a_crossing_starts_the_first_streak_that_is_long_enough(
    values: list[float], sustained: int, index: int | None
) -> None:
    assert ABOVE.at(0.99, sustained).crossing(values) == index
    below = Event("m", "<", -0.99, sustained)
    assert below.crossing([-value for value in values]) == index


@given(st.lists(st.sampled_from([0.5, 1.0, NAN]), max_size=12), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_a_crossing_is_the_first_window_that_is_all_past_the_threshold(values: list[float], sustained: int) -> None:
    windows = [values[i : i + sustained] for i in range(len(values) - sustained + 1)]
    expected = next((i for i, window in enumerate(windows) if all(v > 0.99 for v in window)), None)
    assert ABOVE.at(0.99, sustained).crossing(values) == expected


CUT = [Ending("stopped"), Ending("capped"), Ending("lost"), Ending("pruned")]
ENDINGS = [FINISHED, *CUT, Ending("failed", "out of memory", "trace")]


def test_a_trial_is_over_for_good_unless_it_was_stopped_or_its_machine_was_lost() -> None:
    assert [ending.kind for ending in ENDINGS if not ending.final] == ["stopped"]
    assert not Ending("failed", "node lost").final


def test_an_outcome_reads_as_a_sentence() -> None:
    assert str(Outcome("reached", 2340)) == "reached at 2,340"
    assert str(Outcome("censored", 7500, "horizon")) == "censored at 7,500 (horizon)"
    assert CLOCKS == ("steps", "examples", "seconds")
