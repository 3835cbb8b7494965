"""AdamW over a stack of runs, each with its own hyperparameters (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

import ctypes
from collections.abc import Sequence
from functools import reduce

import torch

from sweeper.training.ops import kernels, triton
from sweeper.training.parameters import joined, spaced


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
        self.first, self.second = (spaced(torch.zeros_like(parameters)) for _ in range(2))
        self.updates = torch.zeros(len(parameters), 1, dtype=torch.int64, device=parameters.device)

    def step(self, gradients: Sequence[torch.Tensor], rate: torch.Tensor, decay: torch.Tensor) -> None:
        """Update the parameters in place.

        Args:
            gradients: pieces [R, n] that make up [R, P].
            rate: [R, 1], learning rate of this update.
            decay: [R, 1], share of the parameters removed by this update; learning rate x weight decay.
        """
        self.updates += 1
        if triton.serve(self._parameters):
            self._squares = self._step_on_a_gpu(gradients, rate, decay)
            return
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

    def squared_gradient(self, gradients: Sequence[torch.Tensor]) -> torch.Tensor:
        """Squared L2 norm of the gradient of each run's last step, [R], given once more."""
        if triton.serve(self._parameters):
            return self._squares.sum(1)
        return squares(gradients)

    def take(self, rows: torch.Tensor, parameters: torch.Tensor) -> "AdamW":
        """An optimiser of copies of the runs in `rows` (int64 indices), whose parameters are `parameters`."""
        taken = AdamW(parameters, self._betas[rows], self._epsilon[rows])
        taken.put(torch.arange(len(rows), device=rows.device), self, rows)
        return taken

    def put(self, rows: torch.Tensor, other: "AdamW", others: torch.Tensor) -> None:
        """Overwrite the runs in `rows` by those in the rows `others` of another one, but for their parameters."""
        for name in ("_betas", "_epsilon", "first", "second", "updates"):
            getattr(self, name)[rows] = getattr(other, name)[others]

    def _step_on_a_gpu(
        self, gradients: Sequence[torch.Tensor], rate: torch.Tensor, decay: torch.Tensor
    ) -> torch.Tensor:
        """Partial sums of the squares of each run's gradient, [R, parts]."""
        from sweeper.training.ops.triton import adamw  # noqa: PLC0415  # Triton may be missing

        states = (self._parameters, self.first, self.second, joined(gradients))
        return adamw.step(*states, self._betas, self._epsilon, rate, decay, self.updates)

    def _step_in_one_pass(self, gradients: Sequence[torch.Tensor], constants: torch.Tensor) -> None:
        runs, stride = self._parameters.shape
        pieces = [gradient.contiguous() for gradient in gradients]
        addresses = (ctypes.c_void_p * len(pieces))(*(piece.data_ptr() for piece in pieces))
        counts = (ctypes.c_int64 * len(pieces))(*(piece.shape[1] for piece in pieces))
        states = (self._parameters, self.first, self.second)
        kernels.call("adamw", *states, stride, addresses, counts, len(pieces), constants, runs)


def squares(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """Squared L2 norm of each run's gradient, [R], from its pieces [R, n].

    Added one after the other: a sum over a stacked axis rounds by how many runs there are.
    """
    return reduce(torch.add, [piece.square().sum(1) for piece in pieces])
