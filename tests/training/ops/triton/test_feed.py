import pytest
import torch
import torch.nn.functional as F

from sweeper.training.ops.triton import feed, feed_backward
from tests.training.ops.triton.numbers import assert_close, flat, normal


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "few"), [((1, 1, 16, 16), feed._FEW), ((2, 65, 48, 80), 0)], ids=["small", "large"])
def test_the_rest_of_a_block_and_its_gradients_are_float64s_in_tiles_of_either_size(
    sizes: tuple[int, ...], few: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_FEW", few)
    runs, rows, width, hidden = sizes
    d, f, make = width, hidden, normal(1, device)
    shapes = {
        "attention.out.weight": (d, d), "attention.out.bias": (d,), "norm1.weight": (d,), "norm1.bias": (d,),
        "feedforward.in.weight": (d, f), "feedforward.in.bias": (f,), "feedforward.out.weight": (f, d),
        "feedforward.out.bias": (d,), "norm2.weight": (d,), "norm2.bias": (d,),
    }  # fmt: skip
    p = dict(zip(shapes, flat(2, device, runs, *shapes.values()), strict=True))
    everyone = rows + 5
    x, mixed, dresult = make(runs, everyone, d), make(runs, rows, d), make(runs, rows, d)
    own = torch.randint(everyone, (runs, everyone), generator=torch.Generator().manual_seed(3)).int().to(device)

    def empty(*shape: int) -> torch.Tensor:
        return torch.full((runs, rows, *shape), 7.0, device=device)

    y, result = empty(d), empty(d)
    kept = feed.Kept(empty(f), empty(d), empty(), empty(d), empty())
    feed.forward(p, x, own, 5, mixed, y, kept, result, None, "float32")
    dsum1 = empty(d)
    parts = torch.full((runs, feed_backward.parts(runs, rows, d), 4 * d), 7.0, device=device)
    slopes = feed_backward.Slopes(empty(d), empty(f), dsum1, dsum1, empty(d), parts)
    feed_backward.backward(p, dresult, kept, slopes, "float32")
    # The textbook.
    q = {name: each.double().requires_grad_() for name, each in p.items()}
    given = mixed.double().requires_grad_()
    picked = torch.stack([x[run][own[run, 5:]] for run in range(runs)]).double()

    def norm(name: str, of: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(of, (d,), eps=1e-5) * q[f"{name}.weight"][:, None] + q[f"{name}.bias"][:, None]

    sum1 = given @ q["attention.out.weight"] + q["attention.out.bias"][:, None] + picked
    first = norm("norm1", sum1)
    z = first @ q["feedforward.in.weight"] + q["feedforward.in.bias"][:, None]
    sum2 = first + F.gelu(z) @ q["feedforward.out.weight"] + q["feedforward.out.bias"][:, None]
    wanted = norm("norm2", sum2)
    names = ["norm2.weight", "norm2.bias", "norm1.weight", "norm1.bias"]
    exact = torch.autograd.grad(wanted, [sum2, z, sum1, given, *(q[name] for name in names)], dresult.double())
    assert_close(y, first.detach())
    assert_close(result, wanted.detach())
    found = [slopes.dsum2, slopes.dhidden, slopes.dsum1, slopes.dmixed, *parts.sum(1).split(d, dim=1)]
    for one, other in zip(found, exact, strict=True):
        assert_close(one, other)
    # Without a gradient the result is the same.
    alone = empty(d)
    feed.forward(p, x, own, 5, mixed, y, None, alone, None, "float32")
    assert torch.equal(alone, result)
