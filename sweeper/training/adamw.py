"""AdamW over a stack of runs, each with its own hyperparameters (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

from dataclasses import dataclass

import torch


@dataclass
class AdamW:
    """State and constants of R independent optimisers over flat parameters [R, P].

    Attributes:
        betas: [R, 2], decay rates of the two moments.
        epsilon: [R, 1].
        first, second: [R, P], moving averages of the gradient and of its square.
        updates: number of updates done; the same for all the runs of a stack.
    """

    betas: torch.Tensor
    epsilon: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    updates: int = 0

    def step(self, parameters: torch.Tensor, gradients: torch.Tensor, rate: torch.Tensor, decay: torch.Tensor) -> None:
        """Update `parameters` [R, P] in place.

        Args:
            parameters, gradients: [R, P].
            rate: [R, 1], learning rate of this update.
            decay: [R, 1], share of the parameters removed by this update; learning rate x weight decay.
        """
        self.updates += 1
        beta1, beta2 = self.betas[:, :1], self.betas[:, 1:]
        self.first.lerp_(gradients, 1 - beta1)
        self.second.mul_(beta2).addcmul_(gradients, gradients * (1 - beta2))
        correction1 = 1 - beta1**self.updates
        correction2 = 1 - beta2**self.updates
        denominator = (self.second / correction2).sqrt_().add_(self.epsilon)
        parameters.mul_(1 - decay).sub_((self.first / denominator).mul_(rate / correction1))

    def keep(self, rows: torch.Tensor) -> None:
        """Drop the runs that are not in `rows` (int64 indices)."""
        self.betas, self.epsilon = self.betas[rows], self.epsilon[rows]
        self.first, self.second = self.first[rows], self.second[rows]
