import pytest
import torch

from sweeper.training.ops.prefixes import Place, Prefixes
from sweeper.training.ops.triton.arrange import Arranger
from tests.training.ops.triton.examples import drawn, tokens


def rows_of(place: Place, run: int) -> list[int]:
    if place.index is None:
        return [place.start + (0 if place.single else e) for e in range(place.count)]
    return (place.start + place.index[run % len(place.index)]).tolist()


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("batch", [3, 7, 60])
def test_rows_and_their_readers_are_those_of_a_layout(batch: int, share: bool, device: torch.device) -> None:
    prefixes, rows = Prefixes(tokens(7).to(device), share), drawn(2, batch).to(device)
    found, layout = Arranger(prefixes).arrange(rows), prefixes.arrange(rows)
    assert torch.equal(found.tokens.long(), layout.tokens.expand(2, -1))
    assert torch.equal(found.positions.long(), layout.positions)
    for readers, places in ((found.first, layout.first), (found.later, layout.later)):
        for run in range(2):
            start = 0
            for position, sources in enumerate(places):
                mine = slice(start, start + sources[0].count)
                start = mine.stop
                for source in range(4):
                    wanted = rows_of(sources[source], run) if source <= position else [-1] * sources[0].count
                    assert readers.index[run, mine, source].tolist() == wanted
                assert readers.own[run, mine].tolist() == rows_of(sources[position], run)
            assert start == readers.count
    assert found.readers(1, 2).count == batch
