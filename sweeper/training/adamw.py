"""AdamW over a stack of runs, each with its own hyperparameters (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

import ctypes
from collections.abc import Sequence

import torch

from sweeper.training.ops import kernels


class AdamW:
    """R independent optimisers over flat parameters.

    Every number is a tensor, so that a step can be captured in a CUDA graph and replayed.

    Args:
        parameters: [R, P]; updated in place.
        betas: [R, 2], decay rates of the two moments.
        epsilon: [R, 1].

    Attributes:
        first, second: [R, P], moving averages of the gradient and of its square.
        updates: int64 [R, 1], updates done by each run.
    """

    def __init__(self, parameters: torch.Tensor, betas: torch.Tensor, epsilon: torch.Tensor):
        self._parameters, self._betas, self._epsilon = parameters, betas, epsilon
        self.first, self.second = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self.updates = torch.zeros(len(parameters), 1, dtype=torch.int64, device=parameters.device)

    def step(self, gradients: Sequence[torch.Tensor], rate: torch.Tensor, decay: torch.Tensor) -> None:
        """Update the parameters in place.

        Args:
            gradients: pieces [R, n] that make up [R, P].
            rate: [R, 1], learning rate of this update.
            decay: [R, 1], share of the parameters removed by this update; learning rate x weight decay.
        """
        self.updates += 1
        corrections = 1 - self._betas**self.updates
        if kernels.serve(self._parameters):
            constants = torch.cat([self._betas, self._epsilon, corrections, rate, decay], dim=1)
            self._step_in_one_pass(gradients, constants)
            return
        beta1, beta2 = torch.split(self._betas, 1, dim=1)
        correction1, correction2 = torch.split(corrections, 1, dim=1)
        gradient = torch.cat(list(gradients), dim=1)
        self.first.lerp_(gradient, 1 - beta1)
        self.second.mul_(beta2).addcmul_(gradient, gradient * (1 - beta2))
        denominator = (self.second / correction2).sqrt_().add_(self._epsilon)
        self._parameters.mul_(1 - decay).sub_((self.first / denominator).mul_(rate / correction1))

    def keep(self, rows: torch.Tensor, parameters: torch.Tensor) -> None:
        """Go on with the runs in `rows` (int64 indices) alone, whose parameters are now `parameters`."""
        self._parameters = parameters
        self._betas, self._epsilon = self._betas[rows], self._epsilon[rows]
        self.first, self.second, self.updates = self.first[rows], self.second[rows], self.updates[rows]

    def join(self, other: "AdamW", parameters: torch.Tensor) -> None:
        """Take in other runs behind one's own; `parameters` are now those of all of them."""
        both = [
            torch.cat([getattr(self, name), getattr(other, name)])
            for name in ("_betas", "_epsilon", "first", "second", "updates")
        ]
        self._parameters = parameters
        self._betas, self._epsilon, self.first, self.second, self.updates = both

    def _step_in_one_pass(self, gradients: Sequence[torch.Tensor], constants: torch.Tensor) -> None:
        runs, stride = self._parameters.shape
        pieces = [gradient.contiguous() for gradient in gradients]
        addresses = (ctypes.c_void_p * len(pieces))(*(piece.data_ptr() for piece in pieces))
        counts = (ctypes.c_int64 * len(pieces))(*(piece.shape[1] for piece in pieces))
        states = (self._parameters, self.first, self.second)
        kernels.call("adamw", *states, stride, addresses, counts, len(pieces), constants, runs)
