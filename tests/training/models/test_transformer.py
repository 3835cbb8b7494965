"""The stack's scores and gradients against the plain model, to the last digits of float64."""

import pytest
import torch
import torch.nn.functional as F

from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.learners.modular_arithmetic import Table, build_table
from sweeper.training.models.transformer import TransformerShape, initialise, logits
from sweeper.training.ops.prefixes import Prefixes
from sweeper.training.parameters import Flat
from tests.fakes.reference import PlainTransformer

WIDTH = 16


def table(operation: str, size: int) -> Table:
    task = ModularArithmetic(name="modular_arithmetic", operation=operation, modulus=max(size, 7), degree=min(size, 6))
    return build_table(task, operation)


def architecture(of: Table, depth: int, heads: int) -> TransformerShape:
    return TransformerShape(of.vocabulary, of.classes, 4, depth, WIDTH, heads, 4 * WIDTH)


def parameters(of: TransformerShape, runs: int) -> torch.Tensor:
    """Biases, gains and shifts that are not 0 or 1, so that a forgotten one shows."""
    flat = torch.stack([initialise(of, seed) for seed in range(runs)]).double()
    return flat + 0.1 * torch.randn(flat.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


def drawn(of: Table, runs: int, batch: int) -> torch.Tensor:
    return torch.randint(len(of.targets), (runs, batch), generator=torch.Generator().manual_seed(batch))


def stacked(
    of: TransformerShape, flat: torch.Tensor, examples: Table, rows: torch.Tensor, share: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores [R, B, classes], and the gradient [R, P] of the sum over runs of the mean loss."""
    held = Flat(of.shapes(), flat)
    scores = logits(of, held.leaves, Prefixes(examples.tokens, share).arrange(rows))
    runs, batch = rows.shape
    loss = F.cross_entropy(scores.flatten(0, 1), examples.targets[rows].flatten(), reduction="sum") / batch
    assert scores.shape == (runs, batch, examples.classes)
    return scores.detach(), torch.cat(held.gradients(loss), dim=1)


def plain(
    of: TransformerShape, row: torch.Tensor, examples: Table, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same of one run, with nn.Module."""
    model = PlainTransformer(of.vocabulary, of.classes, of.depth, of.width, of.heads).double()
    model.load_flat(row)
    scores = model(examples.tokens[rows])
    F.cross_entropy(scores, examples.targets[rows]).backward()
    # Transposed as the parameters are; the position that is never read has the gradient 0.
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.data = parameter.grad
    return scores.detach(), model.flat()


def agree(examples: Table, depth: int, heads: int, batch: int, share: bool) -> None:
    """Two runs in a stack, each against the plain model with its parameters and its batch."""
    of = architecture(examples, depth, heads)
    flat, rows = parameters(of, 2), drawn(examples, 2, batch)
    scores, gradients = stacked(of, flat, examples, rows, share)
    for run in range(2):
        exact, gradient = plain(of, flat[run], examples, rows[run])
        torch.testing.assert_close(scores[run], exact, rtol=0, atol=1e-10)
        torch.testing.assert_close(gradients[run], gradient, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(("depth", "heads"), [(1, 1), (1, 8), (2, 4), (3, 2), (4, 4)])
def test_every_depth_and_number_of_heads_agrees_with_the_plain_model(depth: int, heads: int, share: bool) -> None:
    agree(table("x_plus_y", 7), depth, heads, 30, share)


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(
    ("operation", "depth", "batch"),
    [*(("x_plus_y", 2, each) for each in (1, 6, 7, 48, 49, 120)), ("x_div_y", 1, 7), ("x_minus_y", 3, 49)],
)
def test_batches_below_and_above_every_number_of_beginnings_agree(
    operation: str, depth: int, batch: int, share: bool
) -> None:
    agree(table(operation, 7), depth, 2, batch, share)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "share"), [(40, True), (130, False)])
@pytest.mark.parametrize(("operation", "size"), [("x_plus_y", 97), ("permutation", 5), ("permutation", 3)])
def test_the_published_tables_agree(operation: str, size: int, batch: int, share: bool) -> None:
    agree(table(operation, size), 2, 4, batch, share)


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
def test_three_runs_in_a_stack_are_each_what_they_are_alone(share: bool) -> None:
    examples = table("x_plus_y", 7)
    of = architecture(examples, 2, 4)
    flat, rows = parameters(of, 3), drawn(examples, 3, 30)
    scores, gradients = stacked(of, flat, examples, rows, share)
    for run in range(3):
        one = slice(run, run + 1)
        alone, own = stacked(of, flat[one].clone(), examples, rows[one], share)
        torch.testing.assert_close(scores[one], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(gradients[one], own, rtol=0, atol=1e-12)
    assert (scores[0] - scores[1]).abs().max() > 0.1


@pytest.mark.slow
def test_sharing_rows_changes_only_the_order_of_sums() -> None:
    examples = table("permutation", 5)
    of = architecture(examples, 3, 2)
    flat, rows = parameters(of, 2), drawn(examples, 2, 150)
    for one, other in zip(*(stacked(of, flat, examples, rows, share) for share in (True, False)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_runs_that_are_kept_have_their_own_parameters_and_the_others_are_gone() -> None:
    examples = table("x_plus_y", 7)
    of = architecture(examples, 2, 2)
    flat, rows = parameters(of, 3), drawn(examples, 3, 10)
    held = Flat(of.shapes(), flat)
    kept = held.take(torch.tensor([2, 0]))
    assert torch.equal(kept.values, flat[[2, 0]])
    scores = logits(of, held.leaves, Prefixes(examples.tokens).arrange(rows))
    again = logits(of, kept.leaves, Prefixes(examples.tokens).arrange(rows[[2, 0]]))
    torch.testing.assert_close(again, scores[[2, 0]], rtol=0, atol=1e-12)


def test_the_leaves_follow_the_flat_parameters_that_an_optimiser_updates_in_place() -> None:
    examples = table("x_plus_y", 7)
    of = architecture(examples, 1, 2)
    flat, rows = parameters(of, 1), drawn(examples, 1, 10)
    held = Flat(of.shapes(), flat)
    layout = Prefixes(examples.tokens).arrange(rows)
    before = logits(of, held.leaves, layout).detach()
    flat.mul_(0.5)
    after = logits(of, held.leaves, layout).detach()
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(
        after, logits(of, Flat(of.shapes(), flat.clone()).leaves, layout).detach(), rtol=0, atol=0
    )
