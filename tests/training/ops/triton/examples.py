"""Small tables of examples."""

import torch


def tokens(modulus: int) -> torch.Tensor:
    """[a, ∘, b, =] for all pairs, int64 [N, 4]."""
    a, b = torch.cartesian_prod(torch.arange(modulus), torch.arange(modulus)).unbind(1)
    return torch.stack([a + 2, a * 0, b + 2, a * 0 + 1], dim=1)


def drawn(runs: int, batch: int, modulus: int = 7) -> torch.Tensor:
    """Numbers of examples, int64 [R, B]."""
    return torch.randint(modulus**2, (runs, batch), generator=torch.Generator().manual_seed(batch))
