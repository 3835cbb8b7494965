"""The published experiment's model, written plainly with nn.Module: what the stacked program must agree with."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        attended, _ = self.attention(x, x, x, attn_mask=mask, need_weights=False)
        y = self.norm1(x + attended)
        return self.norm2(y + self.feedforward(y))


class PlainTransformer(nn.Module):
    def __init__(self, vocabulary: int, classes: int, depth: int, width: int, heads: int):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(5, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1], device=tokens.device))
        return self.linear(self.norm(self.blocks(x)))[:, -1]

    def in_flat_order(self) -> list[torch.Tensor]:
        """Parameters in the order of the stacked program's flat row, weights transposed to [in, out]."""
        found = [self.token.weight, self.position.weight]
        for block in self.blocks:
            a, first, second = block.attention, block.feedforward[0], block.feedforward[2]
            found += [a.in_proj_weight.T, a.in_proj_bias, a.out_proj.weight.T, a.out_proj.bias]
            found += [block.norm1.weight, block.norm1.bias]
            found += [first.weight.T, first.bias, second.weight.T, second.bias]
            found += [block.norm2.weight, block.norm2.bias]
        return [*found, self.norm.weight, self.norm.bias, self.linear.weight.T, self.linear.bias]

    def flat(self) -> torch.Tensor:
        """All parameters as one row."""
        return torch.cat([p.detach().reshape(-1) for p in self.in_flat_order()])

    def load_flat(self, row: torch.Tensor) -> None:
        """Set all parameters from a flat row."""
        with torch.no_grad():
            for p in self.in_flat_order():
                piece, row = row[: p.numel()], row[p.numel() :]
                p.copy_(piece.view(p.shape))
