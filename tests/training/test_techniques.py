"""Padded widths."""

from sweeper.training.techniques import bucket


def test_buckets_are_never_too_small_and_at_most_a_quarter_too_large() -> None:
    for size in range(1, 5000):
        assert size <= bucket(size) <= max(size * 1.25, size + 1)
    assert bucket(512) == 512 and bucket(513) == 640
