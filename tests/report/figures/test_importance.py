"""Which parameters matter, drawn."""

from pathlib import Path

import pytest

from sweeper.report.figures import importance
from tests.report.figures.looking import about, launched, look

CONDITIONAL = {
    "search": {
        "heads": {"choice": [1, 2]},
        "depth": {"int": [1, 10], "when": "heads == 2"},
        "weight_decay": {"float": [0.01, 1.0], "log": True},
    },
    "sampler": {"name": "random"},
    "budget": {"trials": 30},
}


@pytest.mark.slow
def test_a_conditional_parameter_counts_where_it_applies(tmp_path: Path) -> None:
    sweep = launched(tmp_path, CONDITIONAL, lambda trial, _: 20 if trial.settings.heads == 2 else 90)
    found = importance.read(about(sweep))
    assert found is not None
    having = sum(row["heads"] == 2 for row in sweep.rows())
    assert (found.having["depth"], found.trials) == (having, 30)
    assert next(iter(found.shares)) == "heads"
    partly = f"{100 * found.shares['depth']:.0f} % ({having} of 30 trials have it)"
    figure = look(importance.draw(found), "heads", "weight_decay", partly)
    assert figure.alt.startswith("Importance from 30 trials: heads ")
