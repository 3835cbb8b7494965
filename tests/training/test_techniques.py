"""Padded widths."""

from sweeper.training.techniques import bucket, bucket_on_a_gpu


def test_buckets_are_never_too_small_and_at_most_a_quarter_too_large() -> None:
    for size in range(1, 5000):
        assert size <= bucket(size) <= max(size * 1.25, size + 1)
    assert bucket(512) == 512 and bucket(513) == 640


def test_buckets_on_a_gpu_fill_it_and_are_less_than_half_too_large() -> None:
    for runs in (1, 3, 24, 2000):
        least = bucket_on_a_gpu(1, runs)
        assert 512 < least * runs <= 1024 or least == 1
        for size in range(1, 2000):
            assert size <= bucket_on_a_gpu(size, runs) < max(size * 1.5, least + 1)
    assert {bucket_on_a_gpu(size, 2000) for size in range(65, 257)} == {96, 128, 192, 256}
