"""Lower bounds of an m-height, without learning: it is at least 1, and at least any codeword's ratio.

The m-height of a code is the largest |c|(0) / |c|(m) over its nonzero codewords c, their magnitudes in falling order,
so every codeword gives a lower bound. Everything here is in log2.
"""

import torch


def bounded(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions not below 0, and which ones the bound has changed.

    The gradient passes the bound as if there were none (a straight-through estimator; Bengio et al. 2013,
    arXiv:1308.3432). A plain clamp would leave a network whose outputs are all below 0 there for good. Passing is also
    right: targets are at least 0, so the squared error's gradient never pushes a clamped output further down, and it
    vanishes only where 0 is the answer. A softplus would instead change predictions that need no bound.

    Args:
        raw: predictions of log2 h, any shape.

    Returns:
        max(raw, 0), and a bool tensor that is true where raw < 0.
    """
    return raw + (raw.clamp(min=0) - raw).detach(), (raw < 0).detach()


def violations(prediction: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """Squared amount by which each prediction lies below its lower bound, else 0; both in log2, any one shape."""
    return (bound - prediction).clamp(min=0).square()


@torch.no_grad()
def lower_bounds(matrices: torch.Tensor, nkm: torch.Tensor) -> torch.Tensor:
    """Log2 of a lower bound of each code's m-height, float64 [N].

    The best ratio among the codewords of unit information vectors, which are the rows of G = [I | P], and of the
    2^(k-1) sign vectors (a vector and its negative have one ratio). Infinite where |c|(m) of one of them is exactly 0.
    Cheap and loose: for random codes 4 to 8 below the height in the mean, so only a grossly low prediction violates it.

    Args:
        matrices: P padded with zeros, [N, 6, 6], entries as they are.
        nkm: length n, dimension k and m < n of each code, int64 [N, 3].
    """
    bounds = torch.empty(len(matrices), dtype=torch.float64, device=matrices.device)
    groups, members = torch.unique(nkm, dim=0, return_inverse=True)
    for number, (n, k, m) in enumerate(groups.tolist()):
        rows = members == number
        p = matrices[rows, :k, : n - k].double()
        information = torch.cat([torch.eye(k), _sign_vectors(k)]).to(p)
        words = torch.cat([information.expand(len(p), -1, -1), information @ p], dim=-1)
        magnitudes = words.abs().sort(dim=-1, descending=True).values
        bounds[rows] = (magnitudes[..., 0] / magnitudes[..., m]).amax(-1).log2()
    return bounds


def _sign_vectors(length: int) -> torch.Tensor:
    """All vectors of ±1 that begin with 1, [2^(length-1), length]."""
    signs = torch.cartesian_prod(torch.ones(1), *[torch.tensor([1.0, -1.0])] * (length - 1))
    return signs.reshape(-1, length)
