"""A sweep whose threshold is on a loss, from space.yaml to page: real codes, networks, tables and figures, all tiny."""

import json
import re
from io import StringIO

import pytest
from rich.console import Console

from sweeper.config.saved import reference_values, saved_spec
from sweeper.errors import UserError
from sweeper.folder.layout import SweepFolder
from sweeper.report.document import figures_of, report_data
from sweeper.report.export import final_info
from sweeper.report.page import write
from sweeper.report.select import choose
from sweeper.results.query import query
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions

SPACE = """
name: heights
task: {name: m_height, groups: [[4, 2, 1], [5, 2, 2]], train_codes: 40, validation_codes: 40}
objective: {until: val_mse < 2.0, horizon: 80, evaluate_every: 4, replicates: 2}
search: {weight_decay: {choice: [0.01, 0.1]}, model.violation: {choice: [0.0, 1.0]}}
fixed: {width: 4, depth: 1, batch.max: 32, learning_rate: 0.01}
baselines: {plain: {weight_decay: 0.01}}
budget: {trials: 3}
"""


@pytest.fixture(scope="module")
def said() -> StringIO:
    return StringIO()


@pytest.fixture(scope="module")
def heights(tmp_path_factory: pytest.TempPathFactory, said: StringIO) -> SweepFolder:
    root = tmp_path_factory.mktemp("heights")
    (root / "space.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as here:
        here.setenv("SWEEPER_CACHE", str(root / "cache"))
        overrides = [f"results={root / 'results'}"]
        return launch(
            root / "space.yaml", overrides, LaunchOptions(where="here", console=Console(file=said, width=200))
        )


@pytest.mark.slow
def test_codes_are_made_once_and_what_is_to_be_seen_beside_is_kept(heights: SweepFolder, said: StringIO) -> None:
    assert re.match(r"prepared m_height: 160 in \d+:\d\d\nheights: ", said.getvalue())
    beside = reference_values(heights, "val_mse")
    assert list(beside) == ["a constant", "group means"]
    assert beside["a constant"] > beside["group means"] > 0
    assert reference_values(heights, "val_loss") == {}


def test_the_tables_have_the_columns_of_the_task(heights: SweepFolder) -> None:
    (row,) = query(heights, "SELECT * FROM trials WHERE phase = 'baseline'").to_pylist()
    assert (row["width"], row["depth"], row["model_violation"], "heads" in row) == (4, 1, 0.0, False)
    (run,) = query(heights, f"SELECT * FROM runs WHERE trial = {row['trial']} AND replicate = 0").to_pylist()
    assert (run["operation"], run["label"]) == ("m_height", "comprehension")
    assert "first_99_steps" not in run
    (last,) = query(
        heights, f"SELECT * FROM curves WHERE trial = {row['trial']} AND replicate = 0 ORDER BY step DESC LIMIT 1"
    ).to_pylist()
    assert last["val_mse"] == last["val_loss"] == pytest.approx(run["final_val_mse"], rel=1e-6)
    assert len(last["weight_norm_blocks"]) == 1
    parts = [last[name] for name in ("weight_norm_stem", "weight_norm_embedding", "weight_norm_head")]
    total = sum(each**2 for each in (*parts, *last["weight_norm_blocks"])) ** 0.5
    assert last["weight_norm"] == pytest.approx(total, rel=1e-5)


@pytest.mark.slow
def test_the_page_speaks_of_the_loss_and_of_no_accuracy(heights: SweepFolder) -> None:
    told = report_data(heights, figures_of(heights))
    write(told, heights.report)
    page = (heights.report / "index.html").read_text()
    notes = (heights.report / "notes.md").read_text()
    for text in (re.sub("<script.*?</script>", "", page, flags=re.DOTALL), notes):  # D3 has words of its own
        assert "val_mse &lt; 2.0" in text or "val_mse < 2.0" in text
        assert not re.search("accura|99 %", text, re.IGNORECASE)
    assert told.question.startswith(
        "Which configuration brings val_mse < 2.0 in the fewest steps, within 80 steps? Task: "
    )
    constant, means = reference_values(heights, "val_mse").values()
    reference = f"reaches val_mse = {constant:.3g} by a constant and {means:.3g} by group means"
    assert f"for comparison, a prediction without learning {reference}" in told.cautions
    (learning,) = [each for each in told.figures if each.name == "learning"]
    assert f"val_mse of a constant {constant:.3g}, val_mse of group means {means:.3g}" in learning.caption


def test_the_published_experiments_form_is_refused_in_words(heights: SweepFolder) -> None:
    with pytest.raises(UserError) as raised:
        final_info(choose(str(heights.root)))
    assert str(raised.value) == f"{heights.root}: final_info.json needs accuracies, and m_height has none"


def test_a_damaged_record_of_references_is_no_record(heights: SweepFolder) -> None:
    kept = heights.provenance.read_text()
    try:
        for damaged in ([{"references": "none"}], [{"references": {"val_mse": 3}}], [{}]):
            heights.provenance.write_text(json.dumps(damaged))
            assert reference_values(heights, "val_mse") == {}
    finally:
        heights.provenance.write_text(kept)
    assert saved_spec(heights).task.name == "m_height"
