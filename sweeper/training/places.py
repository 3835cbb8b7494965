"""Stacks of every size that a cohort has had: what was captured of one serves when the cohort has that size again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from sweeper.training.buffers import Buffers
from sweeper.training.learners.learner import HoldsExamples, Run, StackProblem
from sweeper.training.stack import ExampleRows, Stack
from sweeper.training.techniques import round_number


@dataclass
class Places:
    """Stacks and their buffers by size.

    Attributes:
        keeps: whether they are kept at all; otherwise each is a new one.
        new_buffers: makes the buffers of so many runs.
        kept: size -> stack and buffers, at addresses that captured graphs know.
    """

    keeps: bool
    new_buffers: Callable[[int], Buffers]
    kept: dict[int, tuple[Stack, Buffers]] = field(default_factory=dict)

    def begin(self, stack: Stack) -> tuple[Stack, Buffers]:
        """Forget all others: the problem is another one."""
        self.kept.clear()
        return self._remember(stack)

    def size_for(self, runs: int) -> int:
        """The size of a stack that trials join one by one: it grows in few steps, or to one that it has had."""
        near = [size for size in self.kept if runs <= size < 2 * runs]
        return min(near, default=round_number(runs) if self.keeps else runs)

    def resize(self, stack: Stack, rows: Sequence[int], count: int) -> tuple[Stack, Buffers]:
        """A stack of `count` places where the runs in these rows of another one go on; other places are vacant."""
        if count in self.kept and self.kept[count][0] is not stack:
            found, buffers = self.kept[count]
            places, device = range(len(rows)), stack.seeds.device
            found.put(places, stack, rows)
            mine, its = (torch.tensor(list(each), dtype=torch.int64, device=device) for each in (places, rows))
            found.train.put(mine, stack.train.take(its))
            found.validation.put(mine, stack.validation.take(its))
            buffers.train_sums.zero_()
        else:
            found = stack.take([*rows, *[0] * (count - len(rows))])
            found, buffers = self._remember(found)
        found.vacate(range(len(rows), count))
        return found, buffers

    def _remember(self, stack: Stack) -> tuple[Stack, Buffers]:
        both = stack, self.new_buffers(len(stack))
        if self.keeps:
            self.kept[len(stack)] = both
        return both


def examples_for(stack: Stack, problem: StackProblem, runs: Sequence[Run]) -> tuple[ExampleRows, ExampleRows] | None:
    """Training and validation examples of more runs; None if the device lacks some, or the stack has no room."""
    found = problem.examples_of(runs) if isinstance(problem, HoldsExamples) else None
    if found is None:
        return None
    train, validation = (ExampleRows.padded(each, stack.seeds.device) for each in found)
    fits = train.rows.shape[1] <= stack.train.rows.shape[1]
    return (train, validation) if fits and validation.rows.shape[1] <= stack.validation.rows.shape[1] else None
