"""The pictures of the documentation are those that its program draws."""

import pytest

from docs.pictures import draw
from sweeper.report.figures import canvas


@pytest.mark.slow
@pytest.mark.parametrize("picture", draw.PICTURES, ids=lambda each: each.__name__)
def test_a_picture_is_up_to_date(picture: draw.Picture) -> None:
    figure = canvas.rendered(picture())
    committed = (draw.HERE / f"{figure.name}.svg").read_text()
    assert f"{figure.svg}\n" == committed, "run `python -m docs.pictures.draw`"
    assert f"pictures/{figure.name}.svg" in (draw.HERE.parent / "concepts.md").read_text()
