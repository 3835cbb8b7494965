"""The codes: what is drawn, that it is drawn once, and what predictors without a network reach."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sweeper.training.learners.m_height import codes as module
from sweeper.training.learners.m_height.codes import (
    GROUPS,
    CodeGroup,
    Codes,
    CodeSelection,
    Statistics,
    cached_at,
    generate,
    load_or_generate,
    reference_lines,
    statistics,
)
from sweeper.training.learners.m_height.heights import Reals, profiles

FEW = CodeSelection(30, 7, (CodeGroup(6, 3, 2), CodeGroup(5, 3, 1)))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(first: Codes, second: Codes) -> bool:
    arrays = [(each.matrices, each.group, each.target) for each in (first, second)]
    return first.groups == second.groups and all(map(np.array_equal, *arrays))


def never(done: int, total: int) -> None:
    raise AssertionError(f"{done} of {total} codes were made")


def test_the_published_groups() -> None:
    assert [(each.n, each.k, each.m) for each in GROUPS] == [
        *((9, 4, m) for m in (2, 3, 4, 5)),
        *((9, 5, m) for m in (2, 3, 4)),
        *((9, 6, m) for m in (2, 3)),
        *((10, 4, m) for m in (2, 3, 4, 5, 6)),
        *((10, 5, m) for m in (2, 3, 4, 5)),
        *((10, 6, m) for m in (2, 3, 4)),
    ]


@pytest.mark.parametrize(("n", "k", "m"), [(14, 7, 2), (11, 4, 2), (9, 0, 1), (9, 9, 1), (9, 4, 6), (9, 4, 0)])
def test_groups_without_a_place_or_a_height_are_refused(n: int, k: int, m: int) -> None:
    with pytest.raises(ValueError, match=r"k is from 1 to 6, n-k as well, and m from 1 to n-k"):
        CodeGroup(n, k, m)


def test_targets_are_the_heights_of_the_matrices_that_are_kept() -> None:
    made = generate(CodeSelection(20, 0))
    assert (made.matrices.dtype, made.group.dtype, made.target.dtype) == (np.float32, np.int64, np.float32)
    assert made.group.tolist() == [number for number in range(21) for _ in range(20)]
    for number, group in enumerate(made.groups):
        matrices, target = made.matrices[made.group == number], made.target[made.group == number]
        P = matrices[:, : group.k, : group.n - group.k]
        assert np.count_nonzero(matrices) == np.count_nonzero(P) == P.size
        heights = profiles(P.astype(np.float64))[:, group.m - 1]
        assert target.tolist() == np.log2(heights).astype(np.float32).tolist()
    drawn = made.matrices[made.matrices != 0]
    assert (drawn.min(), drawn.max()) == (pytest.approx(-100, abs=0.1), pytest.approx(100, abs=0.1))
    assert abs(drawn.mean()) < 3 * 57.7 / np.sqrt(drawn.size)


@pytest.mark.slow
def test_the_published_means_and_deviations() -> None:
    given = {(9, 4, 2): (7.18, 0.446), (9, 4, 5): (14.5, 1.84), (10, 4, 2): (5.89, 0.93), (10, 6, 4): (16.0, 1.9)}
    made = generate(CodeSelection(1000, 0, tuple(CodeGroup(*each) for each in given)))
    for found, (mean, sd) in zip(statistics(made), given.values(), strict=True):
        assert found.count == 1000
        assert found.mean == pytest.approx(mean, abs=0.05 + 3 * sd / np.sqrt(1000)), found
        assert found.sd == pytest.approx(sd, rel=0.15), found


def test_a_code_depends_on_seed_group_and_place_alone() -> None:
    asked = CodeSelection(1100, 3, (CodeGroup(5, 2, 1), CodeGroup(5, 2, 2)))
    made = generate(asked, threads=1)
    assert same(made, generate(asked, threads=2))
    fewer = generate(CodeSelection(520, 3, asked.groups[1:]))
    assert np.array_equal(fewer.matrices, made.matrices[1100:1620])
    assert np.array_equal(fewer.target, made.target[1100:1620])
    assert len(np.unique(made.matrices.reshape(2200, -1), axis=0)) == 2200
    assert not np.isin(generate(CodeSelection(520, 4, asked.groups)).matrices[:, 0, 0], made.matrices).any()


def test_a_code_whose_height_counts_as_infinite_is_drawn_again_alone() -> None:
    # Group and place were found by search; the third block begins at 1000.
    group, place = CodeGroup(10, 5, 5), 239
    first_drawn = module._uniform((500, 5, 5), 0, group, 2)
    assert np.flatnonzero(np.isinf(profiles(first_drawn.astype(np.float64))[:, 4])).tolist() == [place]
    kept, heights = module._draw(group, 0, 2, place + 1)
    assert np.isfinite(heights).all()
    assert np.array_equal(kept[:place], first_drawn[:place])
    assert not np.array_equal(kept[place], first_drawn[place])
    assert np.array_equal(kept, module._draw(group, 0, 2, 300)[0][: place + 1])


def test_what_was_made_is_there_the_next_time(cache: Path) -> None:
    steps: list[tuple[int, int]] = []
    asked = CodeSelection(600, 7, FEW.groups)
    made = load_or_generate(asked, lambda done, total: steps.append((done, total)))
    assert steps == [(500, 1200), (600, 1200), (1100, 1200), (1200, 1200)]
    assert same(made, generate(asked))
    assert same(load_or_generate(asked, never), made)
    name = cached_at(asked).name
    assert sorted(each.name for each in cache.iterdir()) == [name.replace(".npz", ".lock"), name]


def test_every_parameter_has_a_file_of_its_own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [
        FEW,
        CodeSelection(31, 7, FEW.groups),
        CodeSelection(30, 8, FEW.groups),
        CodeSelection(30, 7, FEW.groups[:1]),
        CodeSelection(30, 7, FEW.groups[::-1]),
        CodeSelection(30, 7, (CodeGroup(6, 3, 1), CodeGroup(5, 3, 1))),
    ]
    files = {cached_at(each) for each in several}
    monkeypatch.setattr(module, "DATA_VERSION", 2)
    files.add(cached_at(FEW))
    assert len(files) == len(several) + 1
    assert {each.parent for each in files} == {cache}


def _object_array(path: Path) -> None:
    np.savez(path, asked=np.array({"a": 1}), matrices=np.array([path], dtype=object))


def _other_shape(path: Path) -> None:
    with np.load(path) as kept:
        fields = dict(kept)
    np.savez(path, **fields | {"target": fields["target"][:-1]})


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "text": lambda path: path.write_text("codes"),
    "pickled": _object_array,
    "an array": lambda path: path.write_bytes(_array_file()),
    "other codes": lambda path: path.write_bytes(_kept(CodeSelection(30, 8, FEW.groups))),
    "other shape": _other_shape,
}


def _kept(asked: CodeSelection) -> bytes:
    load_or_generate(asked)
    return cached_at(asked).read_bytes()


def _array_file() -> bytes:
    path = cached_at(FEW).with_name("array.npy")
    np.save(path, np.arange(3))
    return path.read_bytes()


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_a_file_that_does_not_hold_these_codes_is_made_again(kind: str) -> None:
    made = load_or_generate(FEW)
    DAMAGE[kind](cached_at(FEW))
    assert same(load_or_generate(FEW), made)
    assert same(load_or_generate(FEW, never), made)


@pytest.mark.slow
def test_no_damaged_byte_is_a_traceback_or_another_code() -> None:
    made, path = load_or_generate(FEW), cached_at(FEW)
    whole = path.read_bytes()
    chance = np.random.default_rng(0)
    headers = [place for place in range(len(whole)) if whole[place : place + 2] == b"PK"]
    places = [*chance.integers(0, len(whole), 60), *(head + offset for head in headers for offset in range(60))]
    for place in places:
        damaged = bytearray(whole)
        damaged[min(place, len(whole) - 1)] ^= 1 << int(chance.integers(8))
        path.write_bytes(damaged)
        found = module._load(path, FEW)
        assert found is None or same(found, made), place


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match=r"could not be kept .*; every trial makes them again; .* SWEEPER_CACHE"):
        made = load_or_generate(FEW)
    assert same(made, generate(FEW))


def test_a_file_that_cannot_be_replaced_is_done_without() -> None:
    cached_at(FEW).mkdir(parents=True)
    with pytest.warns(UserWarning, match="could not be kept"):
        made = load_or_generate(FEW)
    assert same(made, generate(FEW))


def test_whoever_is_interrupted_ends_at_once_and_leaves_nothing_behind(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, drawn = CodeSelection(10_000, 7, (CodeGroup(9, 4, 2),)), list[int]()
    draw = module._draw

    def counted(group: CodeGroup, seed: int, block: int, count: int) -> tuple[npt.NDArray[np.float32], Reals]:
        drawn.append(block)
        return draw(group, seed, block, count)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_draw", counted)
    with pytest.raises(KeyboardInterrupt):
        load_or_generate(asked, interrupt)
    assert 1 <= len(drawn) < 20
    assert [each.suffix for each in cache.iterdir()] == [".lock"]
    assert same(load_or_generate(FEW), generate(FEW))


def _ask(asked: CodeSelection, cache: str, start: Barrier, answers: "multiprocessing.Queue[tuple[int, float]]") -> None:
    """What each of two processes does: says how often it was told of progress, and what it got."""
    os.environ["SWEEPER_CACHE"] = cache  # a server that forks has the environment it was started in
    calls: list[int] = []
    start.wait(60)
    codes = load_or_generate(asked, lambda done, total: calls.append(done))
    answers.put((len(calls), float(codes.target.sum())))


@pytest.mark.slow
def test_two_processes_at_once_make_the_codes_once() -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    start, answers = context.Barrier(2), context.Queue()
    asked = CodeSelection(3000, 7, (CodeGroup(9, 4, 2),))
    processes = [
        context.Process(target=_ask, args=(asked, os.environ["SWEEPER_CACHE"], start, answers)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    got = sorted(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    total = float(load_or_generate(asked, never).target.sum())
    assert got == [(0, total), (6, total)]


@pytest.mark.slow
def test_torch_is_not_needed() -> None:
    program = (
        "import sweeper.training.learners.m_height.codes, sys; print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "False False\n"


def test_statistics_are_those_of_each_group() -> None:
    target, group = np.array([1, 3, 10, 16], dtype=np.float32), np.array([0, 0, 1, 1])
    found = statistics(Codes(FEW.groups, np.zeros((4, 6, 6), dtype=np.float32), group, target))
    first, second = FEW.groups
    assert found == (Statistics(first, 2, 2.0, 2**0.5), Statistics(second, 2, 13.0, 18**0.5))


def test_reference_lines_by_hand() -> None:
    train, train_group = np.array([1, 3, 10, 14], dtype=np.float32), np.array([0, 0, 1, 1])
    validation, validation_group = np.array([13, 1, 4, 12, 17], dtype=np.float32), np.array([1, 0, 0, 1, 1])
    lines = reference_lines(train, train_group, validation, validation_group)
    assert lines.constant == (6**2 + 6**2 + 3**2 + 5**2 + 10**2) / 5
    assert lines.group_mean == (1 + 1 + 4 + 0 + 25) / 5
    assert lines.within == pytest.approx((1 + 1.5**2 * 2 + 2**2 + 3**2) / 5)
