"""The transformer of kernels against the same in float64, and how many kernels an update is."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.compiled import recorded
from sweeper.training.cohort import Cohort
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from sweeper.training.models.transformer import TransformerShape, initialise, logits
from sweeper.training.models.transformer_kernels import StackedTransformer, serves
from sweeper.training.ops.prefixes import Prefixes
from sweeper.training.parameters import Flat
from sweeper.training.techniques import Techniques
from tests.fakes.runs import CPU, make_run, objective, task
from tests.training.ops.triton.conftest import device as device  # noqa: PLC0414  # a fixture
from tests.training.ops.triton.examples import drawn, tokens
from tests.training.ops.triton.numbers import assert_close, error


def architecture(depth: int, width: int = 16) -> TransformerShape:
    return TransformerShape(9, 7, 4, depth, width, 2, 4 * width)


def with_gradients(
    of: TransformerShape, flat: torch.Tensor, rows: torch.Tensor, share: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses [R, B], and gradients [R, P] of a weighted sum of them; by torch's operations in float64."""
    table = tokens(7).to(flat.device)
    targets, prefixes = (table[:, 0] + table[:, 2]) % 7, Prefixes(table, share)
    held, weights = Flat(of.shapes(), flat), torch.linspace(0, 1, rows.numel()).view(rows.shape).to(flat)
    if flat.dtype == torch.float32:
        losses = StackedTransformer(of, prefixes, targets, "float32").score(held.leaves, rows).losses
    else:
        scores = logits(of, held.leaves, prefixes.arrange(rows))
        losses = F.cross_entropy(scores.flatten(0, 1), targets[rows].flatten(), reduction="none").view(rows.shape)
    return losses.detach(), torch.cat(held.gradients(losses, weights), dim=1)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "batch", "runs", "share"), [(1, 20, 2, True), (2, 20, 1, True), (3, 5, 2, False)])
def test_losses_and_gradients_are_float64s(
    depth: int, batch: int, runs: int, share: bool, device: torch.device
) -> None:
    of, rows = architecture(depth), drawn(runs, batch).to(device)
    flat = torch.stack([initialise(of, seed) for seed in range(runs)]).to(device)
    flat += 0.1 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(7)).to(device)
    found, exact = (with_gradients(of, each, rows, share) for each in (flat, flat.double()))
    assert_close(found[0], exact[0])
    assert error(found[1], exact[1]) <= 5e-6


class Computed(TorchDispatchMode):
    """Notes the operations of torch that compute; views and empty tensors launch nothing on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not operation.is_view and "empty" not in operation.name():
            self.names.append(operation.name())
        return operation(*args, **(kwargs or {}))


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "kernels"), [(1, 20), (2, 27), (3, 34)])
@pytest.mark.parametrize("runs", [1, 5])
def test_an_update_is_so_few_kernels_whatever_the_stack(depth: int, kernels: int, runs: int) -> None:
    with recorded() as launches:
        each = [make_run(replicate, depth=depth) for replicate in range(runs)]
        cohort = Cohort(ModularArithmeticLearner(task()), each, objective(), CPU, techniques=Techniques(merge=False))
        cohort._advance(1)
        launches.clear()
        with Computed() as computed:
            cohort._updates.update(cohort._stack, cohort._buffers, 24, diagnose=False, measure=False)
    # The clocks of the runs, and the place in the tables.
    assert computed.names == ["aten::add_.Tensor", "aten::add_.Tensor"]
    assert len(launches) == kernels


def test_widths_that_do_not_suit_the_kernels_are_left_to_torch() -> None:
    assert [width for width in (8, 16, 24, 128, 256, 272) if serves(architecture(1, width))] == [16, 128, 256]
