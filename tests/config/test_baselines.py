"""Baselines whose names would not lead to a trial of their own."""

from pathlib import Path

import pytest

from sweeper.config.loading import load
from sweeper.errors import SpecError
from tests.fakes import small


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        (
            '{"7": {batch.max: 24}}',
            "baselines.7: got the name 7, which means trial 7; add a letter, as in batch-7",
        ),
        (
            "{ours: {batch.max: 24}, theirs: {batch.max: 24, batch.min: 16}}",
            "baselines.theirs: is the same as ours: batch.min has no effect there; keep one of the two",
        ),
        (
            "{ours: {batch.max: 24}, theirs: {batch.max: 24, batch.shape: linear, batch.min: 24, heads: 4}}",
            "baselines.theirs: is the same as ours: batch.shape, batch.min have no effect there; keep one of the two",
        ),
        (
            "{ours: {batch.max: 24}, theirs: {batch.max: 24}}",
            "baselines.theirs: is the same as ours; keep one of the two",
        ),
    ],
)
def test_a_name_that_would_not_lead_to_a_trial_of_its_own_is_a_mistake(
    baselines: str, message: str, tmp_path: Path
) -> None:
    path = small.write(tmp_path)
    with pytest.raises(SpecError) as raised:
        load(path, [f"baselines={baselines}"])
    assert str(raised.value) == f"--set baselines={baselines}: {message}"


def test_names_with_a_number_in_them_and_configurations_that_differ_are_fine(tmp_path: Path) -> None:
    given = "{7a: {batch.max: 24}, '8.5': {batch.max: 25}, also: {batch.max: 24, heads: 1}}"
    assert len(load(small.write(tmp_path), [f"baselines={given}"]).spec.baselines) == 3
