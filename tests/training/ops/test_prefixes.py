"""Every reader of a layout finds the row that was computed from its own tokens; rows are shared where that pays."""

import pytest
import torch

from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.learners.modular_arithmetic import build_table
from sweeper.training.ops.prefixes import Layout, Place, Prefixes

Tables = tuple[tuple[str, int], ...]

MODULAR: Tables = (("x_plus_y", 7),)
DIVISION: Tables = (("x_div_y", 7),)
S3: Tables = (("permutation", 3),)
S4: Tables = (("permutation", 4),)
MIXED: Tables = (("x_plus_y", 7), ("x_div_y", 5), ("permutation", 3))
ALL = {"modular": MODULAR, "division": DIVISION, "S3": S3, "S4": S4, "mixed": MIXED}


def tokens_of(tables: Tables) -> torch.Tensor:
    """The examples of several tables, one after the other."""
    built = []
    for operation, size in tables:
        task = ModularArithmetic(name="modular_arithmetic", operation=operation, modulus=size, degree=min(size, 6))
        built.append(build_table(task, operation).tokens)
    return torch.cat(built)


def irregular() -> torch.Tensor:
    """Sequences of six tokens that share beginnings of every length, one of them whole and twice."""
    return torch.tensor(
        [[5, 1, 1, 4, 2, 9], [5, 1, 1, 4, 2, 8], [5, 1, 0, 4, 2, 9], [3, 1, 1, 4, 2, 9], [5, 1, 1, 4, 2, 9]]
    )


def drawn(count: int, runs: int, batch: int) -> torch.Tensor:
    return torch.randint(count, (runs, batch), generator=torch.Generator().manual_seed(batch))


def read(rows: list[list[object]], place: Place) -> list[list[object]]:
    """What each reader reads of rows [R][M]: [R][n]."""
    found = []
    for run, mine in enumerate(rows):
        index = None if place.index is None else place.index[run % len(place.index)].tolist()
        assert index is None or len(index) == place.count
        offsets = index or ([0] * place.count if place.single else range(place.count))
        found.append([mine[place.start + offset] for offset in offsets])
    return found


def beginnings(layout: Layout, runs: int) -> list[list[list[object]]]:
    """For each position, what the rows after a block know of their sequences, by following every place: [R][N].

    In the first block a row of position j gathers the (position, token) pairs of the embedding rows that it attends to.
    """
    pairs = [
        list(zip(layout.positions.tolist(), layout.tokens[run % len(layout.tokens)].tolist(), strict=True))
        for run in range(runs)
    ]
    found = []
    for places in layout.first:
        gathered = [read(pairs, place) for place in places]
        found.append([list(zip(*(each[run] for each in gathered), strict=True)) for run in range(runs)])
    return found


def check(tokens: torch.Tensor, rows: torch.Tensor, layout: Layout) -> None:
    """Every reader of every position finds rows of its own beginning, in the first block and in later ones."""
    length, runs = tokens.shape[1], len(rows)
    known = beginnings(layout, runs)
    flat = [[row for position in known for row in position[run]] for run in range(runs)]
    assert [len(layout.first), len(layout.later)] == [length, length]
    for j in range(length):
        assert [len(layout.first[j]), len(layout.later[j])] == [j + 1, j + 1]
        # A row of position j, and what its readers find at positions up to j, are parts of one sequence.
        for run in range(runs):
            for row in known[j][run]:
                assert [position for position, _ in row] == list(range(j + 1))
        own = read(flat, layout.later[j][j])
        assert own == known[j]
        for i in range(j):
            found = read(flat, layout.later[j][i])
            assert found == [[row[: i + 1] for row in mine] for mine in own]
    # The last position has a row for each example of the batch, in its order.
    examples = [[tuple(enumerate(example)) for example in tokens[mine].tolist()] for mine in rows]
    assert known[-1] == examples


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("batch", [1, 2, 4, 5, 6, 7, 23, 24, 60])
@pytest.mark.parametrize("tables", ALL.values(), ids=ALL)
def test_every_reader_finds_the_rows_of_its_own_tokens(tables: Tables, batch: int, share: bool) -> None:
    tokens = tokens_of(tables)
    rows = drawn(len(tokens), 3, batch)
    check(tokens, rows, Prefixes(tokens, share).arrange(rows))


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 9])
def test_sequences_of_any_length_and_of_any_beginnings_are_laid_out_right(batch: int) -> None:
    rows = drawn(5, 2, batch)
    check(irregular(), rows, Prefixes(irregular()).arrange(rows))
    one = torch.tensor([[3], [4]])
    check(one, rows % 2, Prefixes(one).arrange(rows % 2))


def counts(places: list[list[Place]]) -> list[int]:
    """How many rows each position has."""
    return [row[-1].count for row in places]


@pytest.mark.parametrize(
    ("tables", "elements", "firsts"),
    [(MODULAR, 7, 7), (DIVISION, 7, 7), (S3, 6, 6), (S4, 24, 24), ((("x_plus_y", 7), ("x_div_y", 5)), 7, 7)],
)
def test_positions_are_shared_where_the_batch_has_as_many_examples_as_there_are_beginnings(
    tables: Tables, elements: int, firsts: int
) -> None:
    tokens = tokens_of(tables)
    prefixes = Prefixes(tokens)
    assert len(tokens[:, 0].unique()) == elements
    for batch in (firsts - 1, firsts, firsts + 1):
        layout = prefixes.arrange(drawn(len(tokens), 2, batch))
        rows_before_the_end = firsts if batch >= firsts else batch
        # [a], [a ∘], [a ∘ b] and [a ∘ b =]: the last two are as many as there are pairs.
        assert counts(layout.later) == [rows_before_the_end, rows_before_the_end, batch, batch]


def test_beginnings_of_three_tokens_are_shared_too_where_the_batch_is_larger_than_the_table() -> None:
    tokens = tokens_of(MODULAR)
    for batch, third in ((48, 48), (49, 49), (200, 49)):
        layout = Prefixes(tokens).arrange(drawn(49, 2, batch))
        assert counts(layout.later) == [7, 7, third, batch]


def test_the_first_block_embeds_each_distinct_token_of_a_position_once_for_all_runs() -> None:
    tokens = tokens_of(MODULAR)
    layout = Prefixes(tokens).arrange(drawn(49, 3, 20))
    elements = list(range(2, 9))
    assert layout.tokens.tolist() == [[*elements, 0, *elements, 1]]
    assert layout.positions.tolist() == [0] * 7 + [1] + [2] * 7 + [3]


def test_the_operator_and_the_equals_sign_are_one_row_for_everybody() -> None:
    layout = Prefixes(tokens_of(MODULAR)).arrange(drawn(49, 3, 20))
    assert [[place.single for place in row] for row in layout.first] == [
        [False],
        [False, True],
        [False, True, False],
        [False, True, False, True],
    ]


def test_a_batch_with_fewer_examples_than_tokens_embeds_its_own() -> None:
    tokens = tokens_of(MODULAR)
    rows = drawn(49, 3, 6)
    layout = Prefixes(tokens).arrange(rows)
    assert layout.tokens.shape == (3, 6 + 1 + 6 + 1)
    assert torch.equal(layout.tokens[:, :6], tokens[rows][:, :, 0])
    assert counts(layout.later) == [6, 6, 6, 6]


@pytest.mark.parametrize("tables", ALL.values(), ids=ALL)
@pytest.mark.parametrize("batch", [1, 30, 3000])
def test_without_sharing_every_example_has_all_its_own_rows(tables: Tables, batch: int) -> None:
    tokens = tokens_of(tables)
    rows = drawn(len(tokens), 2, batch)
    layout = Prefixes(tokens, share=False).arrange(rows)
    assert torch.equal(layout.tokens, tokens[rows].transpose(1, 2).flatten(1))
    plain = [Place(j * batch, batch) for j in range(4)]
    assert layout.first == layout.later == [plain[: j + 1] for j in range(4)]


@pytest.mark.parametrize("batch", [1, 49, 1000])
def test_the_last_position_is_every_examples_own_even_where_the_table_is_smaller(batch: int) -> None:
    layout = Prefixes(tokens_of(MODULAR)).arrange(drawn(49, 2, batch))
    last = layout.later[3][3]
    assert (last.count, last.index, last.single) == (batch, None, False)


def test_indices_are_for_every_run_its_own() -> None:
    tokens = tokens_of(MODULAR)
    rows = torch.tensor([[0] * 8, [48] * 8])
    layout = Prefixes(tokens).arrange(rows)
    index = layout.later[3][0].index
    assert index is not None
    assert index.tolist() == [[0] * 8, [6] * 8]
