"""One run's model as an nn.Module, over the same functions of the parameters that stacked training uses."""

import torch
from torch import nn

from sweeper.config.model import Precision
from sweeper.training.models.transformer import TransformerShape, logits
from sweeper.training.ops.matmul import product_for
from sweeper.training.ops.prefixes import Prefixes
from sweeper.training.parameters import Parameters, Shapes


class Parametrised(nn.Module):
    """A module that has parameters of these names and shapes, zero at first; a dot in a name is a module within."""

    def __init__(self, shapes: Shapes):
        super().__init__()
        for name, shape in shapes.items():
            *path, last = name.split(".")
            place: nn.Module = self
            for part in path:
                if part not in place._modules:
                    place.add_module(part, nn.Module())
                place = place.get_submodule(part)
            place.register_parameter(last, nn.Parameter(torch.zeros(shape)))

    def stacked(self) -> Parameters:
        """The parameters as those of a stack of one run: name -> [1, *shape]."""
        return {name: each[None] for name, each in self.named_parameters()}


class Transformer(Parametrised):
    """One decoder-only transformer, read at the last position."""

    def __init__(self, architecture: TransformerShape, precision: Precision = "float32"):
        super().__init__(architecture.shapes())
        self.architecture, self.precision = architecture, precision

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores of the token after the last one, [B, classes], of tokens int64 [B, length]."""
        rows = torch.arange(len(tokens), device=tokens.device)[None]
        layout = Prefixes(tokens).arrange(rows)
        return logits(self.architecture, self.stacked(), layout, product_for(self.precision, tokens.device))[0]
