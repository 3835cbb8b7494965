"""Heights as a task: losses and references by plain arithmetic, splits that are balanced and the seed's own."""

from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sweeper.space import hyperparameters
from sweeper.tasks.m_height import MHeight
from sweeper.training.learners.learner import Equipment, Run
from sweeper.training.learners.m_height.learner import Heights, MHeightLearner
from sweeper.training.models.residual import predict
from sweeper.training.ops.matmul import exact
from sweeper.trial import seeds_of

GROUPS = ((9, 4, 2), (9, 4, 3), (6, 3, 1))
EQUIPMENT = Equipment(torch.device("cpu"), torch.float64, exact)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path))
    return tmp_path


def learner(groups: tuple[tuple[int, int, int], ...] = GROUPS, train: int = 30, validation: int = 20) -> MHeightLearner:
    return MHeightLearner(MHeight(name="m_height", groups=groups, train_codes=train, validation_codes=validation))


def run(of: MHeightLearner, replicate: int = 0, **settings: object) -> Run:
    flat = {**of.task.all_defaults, "width": 4, "depth": 1, **settings}
    return Run(of.task.operations[0], replicate, hyperparameters.from_flat(flat), seeds_of(replicate))


def problem(of: MHeightLearner, violation: float = 0.0) -> Heights:
    return of.problem([run(of, replicate, **{"model.violation": violation}) for replicate in (0, 1)], EQUIPMENT)


def lower_bound(P: npt.NDArray[np.float64], m: int) -> float:
    """The best ratio of log2 among the codewords of unit vectors and of sign vectors, one by one."""
    generator = np.hstack([np.eye(len(P)), P])
    vectors = [*np.eye(len(P)), *(np.array(signs) for signs in product((1.0, -1.0), repeat=len(P)))]
    words = [np.sort(np.abs(vector @ generator))[::-1] for vector in vectors]
    return float(np.log2(max(word[0] / word[m] for word in words)))


def parameters(of: Heights, scale: float = 1.0) -> dict[str, torch.Tensor]:
    rows, found, place = of.initial().double(), {}, 0
    for name, shape in of.shapes.items():
        size = int(np.prod(shape))
        found[name] = scale * rows[:, place : place + size].view(-1, *shape)
        place += size
    return found


@pytest.mark.parametrize("weight", [0.0, 2.5])
def test_losses_are_squared_errors_and_the_weighted_violation(weight: float) -> None:
    of = learner()
    heights, codes = problem(of, weight), of.codes
    mine = parameters(heights)
    # Predictions begin near 0: some of the first run are brought below it, those of the second among the heights.
    mine["head.linear.bias"] = torch.tensor([[-0.3], [6.0]], dtype=torch.float64)
    rows = torch.stack([each[::7] for each in heights.validation])
    scores = heights.score(mine, rows)
    groups = torch.tensor(GROUPS)[torch.from_numpy(codes.group)]
    kind = of.alike(run(of))
    raw = predict(kind.architecture, mine, torch.from_numpy(codes.matrices).double()[rows], groups[rows], exact)
    for place, row in np.ndenumerate(rows.numpy()):
        n, k, m = GROUPS[codes.group[row]]
        said, target = max(float(raw[place]), 0.0), float(codes.target[row])
        low = lower_bound(codes.matrices[row, :k, : n - k].astype(np.float64), m)
        assert low < target + 1e-5, "a bound of the height"
        below = max(low - said, 0.0) ** 2
        assert float(scores.others["mse"][place]) == pytest.approx((said - target) ** 2)
        assert float(scores.others["violation"][place]) == pytest.approx(below)
        assert float(scores.losses[place]) == pytest.approx((said - target) ** 2 + weight * below)
        assert float(scores.others["clamped"][place]) == (raw[place] < 0)
    assert 0 < scores.others["clamped"].mean() < 1
    assert (scores.others["violation"] > 0).any()


def test_whoever_knows_the_means_of_the_groups_alone_has_an_r2_of_0() -> None:
    of = learner(groups=GROUPS[:1])
    heights, targets = problem(of), of.codes.target.astype(np.float64)
    silent = parameters(heights, scale=0.0)
    silent["head.linear.bias"] = torch.full((2, 1), targets.mean(), dtype=torch.float64)
    everything = torch.arange(len(targets)).expand(2, -1)
    scores = heights.score(silent, everything)
    assert scores.others["r2_within"].mean(1).tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    assert scores.others["mse"].mean(1).tolist() == pytest.approx([targets.var()] * 2)


@pytest.mark.slow
def test_r2_is_in_units_of_the_mean_variance_of_the_groups() -> None:
    of = learner()
    heights, codes = problem(of), of.codes
    within = np.mean([codes.target[codes.group == number].astype(np.float64).var() for number in range(3)])
    scores = heights.score(parameters(heights), torch.stack([each[:9] for each in heights.train]))
    torch.testing.assert_close(scores.others["r2_within"], 1 - scores.others["mse"] / within)


def test_a_split_is_balanced_and_whole() -> None:
    of = learner()
    train, validation = of.split(3)
    groups = of.codes.group
    assert np.bincount(groups[train]).tolist() == [30, 30, 30]
    assert np.bincount(groups[validation]).tolist() == [20, 20, 20]
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(150))


def test_a_split_is_its_seeds_own() -> None:
    of = learner()
    first, again, other = (of.split(seed) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    heights = problem(of)
    for replicate in (0, 1):
        train, validation = of.split(seeds_of(replicate).data)
        assert torch.equal(heights.train[replicate], train)
        assert torch.equal(heights.validation[replicate], validation)


def test_what_is_prepared_is_kept_and_its_references_are_right(cache: Path) -> None:
    of = learner()
    told: list[tuple[int, int]] = []
    references = of.prepare(lambda done, total: told.append((done, total)))
    assert told[-1] == (150, 150)
    assert [path.suffix for path in sorted(cache.iterdir())] == [".lock", ".npz"]
    told.clear()
    assert learner().prepare(lambda done, total: told.append((done, total))) == references
    assert told == [], "it was there the second time"
    y, group = of.codes.target.astype(np.float64), of.codes.group
    train, validation = (each.numpy() for each in of.split(seeds_of(0).data))
    means = np.array([y[train][group[train] == number].mean() for number in range(3)])
    within = np.mean([y[group == number].var() for number in range(3)])
    by_group = np.square(y[validation] - means[group[validation]]).mean()
    assert references == {
        "val_mse": {
            "a constant": pytest.approx(np.square(y[validation] - y[train].mean()).mean()),
            "group means": pytest.approx(by_group),
        },
        "val_r2_within": {"group means": pytest.approx(1 - by_group / within)},
    }
    assert abs(references["val_r2_within"]["group means"]) < 0.2


def test_runs_of_other_shapes_or_losses_are_not_stacked() -> None:
    of = learner()
    mine = of.alike(run(of))
    assert mine == of.alike(run(of, 1, learning_rate=0.1))
    for change in ({"width": 8}, {"depth": 2}, {"model.violation": 1.0}):
        assert mine != of.alike(run(of, **change))
