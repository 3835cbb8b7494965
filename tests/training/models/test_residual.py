"""The stacked residual networks against a plain one, to the last digits of float64; sizes and initial values."""

import math
from collections.abc import Iterator

import pytest
import torch
from scipy import stats
from torch import nn

from sweeper.training.models.residual import ResidualShape, initialise, predict
from sweeper.training.ops import kernels
from sweeper.training.ops.matmul import Product, exact, rounded_bfloat16

PUBLISHED = tuple((n, k, m) for n in (9, 10) for k in (4, 5, 6) for m in range(2, n - k + 1))
SMALL = ResidualShape(PUBLISHED, width=8, depth=2)


class PlainBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.LayerNorm([width, 6, 6]) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm1(self.first(x)))
        return torch.relu(x + self.norm2(self.second(y)))


class PlainResidual(nn.Module):
    """Channels first, one network, as one would write it down."""

    def __init__(self, width: int, depth: int, least: tuple[int, int, int], rows: tuple[int, int, int]):
        super().__init__()
        self.least = least
        self.stem, self.norm = nn.Conv2d(1, width, 3, padding=1), nn.LayerNorm([width, 6, 6])
        self.tables = nn.ModuleList(nn.Embedding(count, width) for count in rows)
        self.blocks = nn.Sequential(*(PlainBlock(width) for _ in range(depth)))
        self.hidden1, self.hidden2 = nn.Linear(36 * width, 4 * width), nn.Linear(4 * width, width)
        self.linear = nn.Linear(width, 1)

    def forward(self, matrices: torch.Tensor, nkm: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(matrices[:, None] / 100)))
        for i, table in enumerate(self.tables):
            x = x + table(nkm[:, i] - self.least[i])[:, :, None, None]
        x = torch.relu(self.hidden1(self.blocks(x).flatten(1)))
        return self.linear(torch.relu(self.hidden2(x))).flatten()

    def load(self, parameters: dict[str, torch.Tensor]) -> None:
        """Set all parameters from those of one run, by name."""
        left = dict(parameters)
        convolutions = [("stem", "", self.stem, self.norm)]
        for i, block in enumerate(self.blocks):
            convolutions += [
                (f"block{i}", "1", block.first, block.norm1),
                (f"block{i}", "2", block.second, block.norm2),
            ]
        for where, number, convolution, norm in convolutions:
            out, before = convolution.weight.shape[:2]
            weight = left.pop(f"{where}.convolution{number}.weight").view(3, 3, before, out)
            convolution.weight.data = weight.permute(3, 2, 0, 1)
            convolution.bias.data = left.pop(f"{where}.convolution{number}.bias")
            norm.weight.data = channels_first(left.pop(f"{where}.norm{number}.weight"))
            norm.bias.data = channels_first(left.pop(f"{where}.norm{number}.bias"))
        for name, table in zip("nkm", self.tables, strict=True):
            table.weight.data = left.pop(f"embedding.{name}")
        first = left.pop("head.hidden1.weight")
        self.hidden1.weight.data = torch.stack([channels_first(column).flatten() for column in first.T])
        self.hidden1.bias.data = left.pop("head.hidden1.bias")
        for name, layer in (("hidden2", self.hidden2), ("linear", self.linear)):
            layer.weight.data, layer.bias.data = left.pop(f"head.{name}.weight").T, left.pop(f"head.{name}.bias")
        assert not left


def channels_first(cells_first: torch.Tensor) -> torch.Tensor:
    """[36 * C] -> [C, 6, 6]."""
    return cells_first.view(6, 6, -1).permute(2, 0, 1)


def parameters(of: ResidualShape, runs: int) -> dict[str, torch.Tensor]:
    """Float64 leaves [R, *shape]; gains and shifts that are not 1 or 0, so that a forgotten one shows."""
    flat = torch.stack([initialise(of, seed) for seed in range(runs)]).double()
    flat += 0.1 * torch.randn(flat.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    pieces = flat.split([math.prod(shape) for shape in of.shapes().values()], dim=1)
    named = zip(of.shapes().items(), pieces, strict=True)
    return {name: piece.reshape(runs, *shape).requires_grad_() for (name, shape), piece in named}


def codes(of: ResidualShape, runs: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded matrices float64 [R, B, 6, 6] and their (n, k, m) [R, B, 3]."""
    generator = torch.Generator().manual_seed(batch)
    nkm = torch.tensor(of.groups)[torch.randint(len(of.groups), (runs, batch), generator=generator)]
    matrices = torch.rand(runs, batch, 6, 6, dtype=torch.float64, generator=generator) * 200 - 100
    row, column = torch.arange(6)[:, None], torch.arange(6)
    n, k = nkm[..., 0, None, None], nkm[..., 1, None, None]
    return matrices * ((row < k) & (column < n - k)), nkm


def gathered(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """As exact, but not known as such: convolutions are products of gathered neighbours, as on a GPU."""
    return exact(x, weight, bias)


def stacked(
    of: ResidualShape, p: dict[str, torch.Tensor], matrices: torch.Tensor, nkm: torch.Tensor, product: Product = exact
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Predictions [R, B], and the gradients of the sum over runs of the mean of their sines."""
    raw = predict(of, p, matrices, nkm, product)
    gradients = torch.autograd.grad(raw.sin().mean(1).sum(), list(p.values()))
    return raw.detach(), dict(zip(p, gradients, strict=True))


either_way = pytest.mark.parametrize("product", [exact, gathered])


@pytest.mark.slow
@either_way
@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize(
    "of",
    [
        SMALL,
        ResidualShape(PUBLISHED, width=3, depth=1),
        ResidualShape(PUBLISHED, width=4, depth=5),
        ResidualShape(((6, 2, 1), (6, 2, 3), (5, 2, 1)), width=8, depth=0),
    ],
    ids=["published", "narrow", "deep", "no blocks"],
)
def test_predictions_and_gradients_are_those_of_the_plain_model(
    of: ResidualShape, batch: int, product: Product
) -> None:
    p, (matrices, nkm) = parameters(of, 2), codes(of, 2, batch)
    raw, gradients = stacked(of, p, matrices, nkm, product)
    assert raw.shape == (2, batch)
    least = tuple(min(group[i] for group in of.groups) for i in range(3))
    rows = tuple(1 + max(group[i] for group in of.groups) - least[i] for i in range(3))
    for run in range(2):
        plain, wanted = (PlainResidual(of.width, of.depth, least, rows).double() for _ in range(2))
        plain.load({name: each[run].detach().clone() for name, each in p.items()})
        expected = plain(matrices[run], nkm[run])
        torch.testing.assert_close(raw[run], expected.detach(), rtol=0, atol=1e-10)
        expected.sin().mean().backward()
        # Gradients under the plain model's names: loaded as if they were parameters.
        wanted.load({name: each[run] for name, each in gradients.items()})
        for (name, parameter), mine in zip(plain.named_parameters(), wanted.parameters(), strict=True):
            torch.testing.assert_close(mine.detach(), parameter.grad, rtol=0, atol=1e-10, msg=name)


@pytest.mark.slow
@either_way
def test_three_runs_in_a_stack_are_each_what_they_are_alone(product: Product) -> None:
    p, (matrices, nkm) = parameters(SMALL, 3), codes(SMALL, 3, 20)
    raw, gradients = stacked(SMALL, p, matrices, nkm, product)
    for run in range(3):
        one = slice(run, run + 1)
        own = {name: each[one].detach().clone().requires_grad_() for name, each in p.items()}
        alone, own_gradients = stacked(SMALL, own, matrices[one], nkm[one], product)
        torch.testing.assert_close(raw[one], alone, rtol=0, atol=1e-12)
        for name, gradient in own_gradients.items():
            torch.testing.assert_close(gradients[name][one], gradient, rtol=0, atol=1e-12)
    assert (raw[0] - raw[1]).abs().min() > 1e-3


@pytest.fixture(params=["kernels", "torch"])
def forms(request: pytest.FixtureRequest) -> Iterator[None]:
    """With the C kernels, and without."""
    if request.param == "kernels" and kernels.library() is None:
        pytest.skip("no C compiler made the kernels")
    before, kernels.enabled = kernels.enabled, request.param == "kernels"
    yield
    kernels.enabled = before


@pytest.mark.slow
@either_way
@pytest.mark.usefixtures("forms")
def test_float32_agrees_with_float64_as_far_as_it_goes(product: Product) -> None:
    p, (matrices, nkm) = parameters(SMALL, 2), codes(SMALL, 2, 70)
    raw, gradients = stacked(SMALL, p, matrices, nkm)
    single = {name: each.detach().float().requires_grad_() for name, each in p.items()}
    found, own = stacked(SMALL, single, matrices.float(), nkm, product)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), raw, rtol=0, atol=1e-4)
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name].double(), gradient, rtol=0, atol=1e-4)


def test_every_product_is_in_the_precision_asked_for() -> None:
    shapes = []

    def counted(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        shapes.append((tuple(x.shape[1:]), tuple(weight.shape[1:])))
        return rounded_bfloat16(x, weight, bias)

    of = ResidualShape(PUBLISHED, width=8, depth=1)
    p, (matrices, nkm) = parameters(of, 2), codes(of, 2, 5)
    raw = predict(of, p, matrices, nkm, counted)
    cells = 5 * 36
    convolutions = [((cells, 9), (9, 8)), ((cells, 72), (72, 8)), ((cells, 72), (72, 8))]
    assert shapes == [*convolutions, ((5, 288), (288, 32)), ((5, 32), (32, 8)), ((5, 8), (8, 1))]
    torch.testing.assert_close(raw, predict(of, p, matrices, nkm, exact), rtol=0, atol=0.1)
    torch.autograd.grad(raw.sum(), list(p.values()))
    # Each convolution's gradients are two more, but for the stem, whose input has none.
    assert len(shapes) == 6 + 5


def test_the_order_of_the_batch_does_not_matter() -> None:
    p, (matrices, nkm) = parameters(SMALL, 1), codes(SMALL, 1, 12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    raw = predict(SMALL, p, matrices, nkm, exact)
    again = predict(SMALL, p, matrices[:, order], nkm[:, order], exact)
    torch.testing.assert_close(again, raw[:, order], rtol=0, atol=1e-12)


def test_n_k_and_m_each_tell_on_the_prediction() -> None:
    p, (matrices, _) = parameters(SMALL, 1), codes(SMALL, 1, 1)
    groups = [(9, 4, 2), (10, 4, 2), (9, 5, 2), (9, 4, 3)]
    raw = predict(SMALL, p, matrices.expand(-1, 4, -1, -1), torch.tensor([groups]), exact)[0]
    assert len({round(each, 6) for each in raw.tolist()}) == 4


# ---- sizes and initial values


def test_the_published_network_has_1_027_841_parameters() -> None:
    of = ResidualShape(PUBLISHED)
    assert (of.width, of.depth, len(of.groups)) == (64, 5, 21)
    stem, embedding = 9 * 64 + 64 + 2 * 36 * 64, (2 + 3 + 5) * 64
    block = 2 * (9 * 64 * 64 + 64 + 2 * 36 * 64)
    head = 36 * 64 * 256 + 256 + 256 * 64 + 64 + 64 + 1
    assert of.size == stem + embedding + 5 * block + head == 1_027_841
    assert initialise(of, 0).shape == (of.size,)
    plain = PlainResidual(64, 5, (9, 4, 2), (2, 3, 5))
    assert sum(each.numel() for each in plain.parameters()) == of.size


def test_parameters_are_grouped_by_the_prefixes_that_norms_are_taken_of() -> None:
    prefixes = [name.split(".")[0] for name in SMALL.shapes()]
    assert list(dict.fromkeys(prefixes)) == ["stem", "embedding", "block0", "block1", "head"]
    assert SMALL.shapes()["head.linear.weight"] == (8, 1)


def test_initial_values_are_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = initialise(SMALL, 3)
    torch.manual_seed(2)
    assert torch.equal(initialise(SMALL, 3), first)
    assert first.dtype == torch.float32 and first.device.type == "cpu"
    assert not torch.equal(initialise(SMALL, 4), first)


def test_initial_values_are_distributed_as_those_of_pytorchs_own_layers() -> None:
    of = ResidualShape(PUBLISHED, width=32, depth=1)
    flat = initialise(of, 0)
    sizes = [math.prod(shape) for shape in of.shapes().values()]
    mine = dict(zip(of.shapes(), flat.split(sizes), strict=True))
    torch.manual_seed(0)
    layers = {
        "stem.convolution": nn.Conv2d(1, 32, 3),
        "block0.convolution1": nn.Conv2d(32, 32, 3),
        "block0.convolution2": nn.Conv2d(32, 32, 3),
        "head.hidden1": nn.Linear(36 * 32, 128),
        "head.hidden2": nn.Linear(128, 32),
        "head.linear": nn.Linear(32, 1),
    }
    for name, layer in layers.items():
        for kind in ("weight", "bias"):
            own = getattr(layer, kind).detach().flatten()
            got = mine.pop(f"{name}.{kind}")
            bound = 1 / math.sqrt(layer.weight[0].numel())
            assert got.abs().max() <= bound and own.abs().max() <= bound
            assert stats.kstest(got.numpy(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
            assert stats.ks_2samp(got.numpy(), own.numpy()).pvalue > 1e-3
    tables = torch.cat([mine.pop(f"embedding.{name}") for name in "nkm"])
    assert stats.kstest(tables.numpy(), stats.norm.cdf).pvalue > 1e-3
    for name, piece in mine.items():
        assert ".norm" in name
        assert torch.equal(piece, torch.full_like(piece, 1.0 if name.endswith("weight") else 0.0))
