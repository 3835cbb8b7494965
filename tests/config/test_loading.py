"""What a space.yaml means as records, `--set`, and the text that is kept of it."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from sweeper.config.loading import Loaded, check, load
from sweeper.config.model import Budget, Confirm, Objective, Race, Resources, Sampler, of_task
from sweeper.config.overrides import override
from sweeper.config.reader import Document, parse, text_of
from sweeper.errors import SpecError, UserError
from sweeper.space.batch_schedules import ALIASES, BatchSchedule
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.space.parameters import Choice, Float, Int
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.task import Task

SEARCH_SPACES = Path(__file__).parents[2] / "search_spaces"
QUICKSTART = SEARCH_SPACES / "quickstart.yaml"
SMALL = b"""\
name: small
task: {name: modular_arithmetic, operation: x_plus_y}
objective: {horizon: 100}
budget: {trials: 4}
"""

some = settings(deadline=None, max_examples=60)


def small(*lines: str) -> Loaded:
    return check(parse(SMALL + "\n".join(lines).encode(), "small.yaml"))


def quickstart() -> dict[str, Any]:
    """The sections of quickstart.yaml, as records."""
    return {
        "name": "quickstart",
        "task": ModularArithmetic(
            name="modular_arithmetic",
            operation=("x_plus_y",),
            modulus=31,
            degree=5,
            train_fraction=0.7,
            evaluation="whole",
        ),
        "objective": Objective(
            minimize="steps",
            until="val_accuracy > 0.99",
            sustained=1,
            horizon=1500,
            horizon_seconds=None,
            evaluate_every=10,
            tail=0,
            replicates=3,
        ),
        "search": {
            "batch.shape": Choice(choice=("constant", "linear", "geometric", "doubling")),
            "batch.min": Int(bounds=(16, 64), log=True, when="batch.shape != constant"),
            "batch.max": Int(bounds=(48, 128), log=True),
            "weight_decay": Float(bounds=(0.5, 1.0), log=True),
            "depth": Int(bounds=(1, 2)),
            "heads": Choice(choice=(2, 4, 8)),
        },
        "require": ("batch.min <= batch.max", "width % heads == 0"),
        "fixed": {"width": 64, "learning_rate": 3e-3, "batch.doubling_steps": 300},
        "baselines": {
            "constant-128": {
                "batch.shape": "constant",
                "batch.max": 128,
                "weight_decay": 0.5,
                "depth": 1,
                "heads": 4,
            }
        },
        "sampler": Sampler(name="tpe", seed=0, startup_trials=8),
        "stop": "cap",
        "prior": (),
        "race": None,
        "confirm": Confirm(top=2, replicates=8),
        "budget": Budget(trials=24, hours=None),
        "resources": Resources(cpu=1.0, gpu=0.0),
        "precision": "float32",
        "results": "results",
        "storage": None,
        "keep": None,
        "start": [],
        "notify": None,
        "trackers": (),
    }


def test_quickstart_means_these_records() -> None:
    loaded = load(QUICKSTART)
    assert dict(loaded.spec) == quickstart()
    assert loaded.spec == of_task(ModularArithmetic)(**quickstart())
    assert list(loaded.space.parameters) == list(quickstart()["search"])
    assert loaded.space.parameters == loaded.spec.search
    assert loaded.space.fixed == loaded.spec.fixed
    assert tuple(loaded.space.require) == loaded.spec.require
    assert loaded.space.horizon == 1500


def test_the_baseline_of_quickstart_is_a_point_of_its_space() -> None:
    loaded = load(QUICKSTART)
    baseline = loaded.spec.baselines["constant-128"]
    coordinates = loaded.space.encode(baseline)
    assert coordinates is not None
    assert loaded.space.decode(coordinates) == baseline
    assert loaded.space.settings(baseline) == Hyperparameters(
        depth=1,
        width=64,
        heads=4,
        learning_rate=3e-3,
        weight_decay=0.5,
        batch=BatchSchedule(shape="constant", max=128),
    )


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("budget: {hours: 2}", "thaw"),
        ("budget: {hours: 2, trials: 100}", "thaw"),
        ("budget: {hours: 2}\nsampler: {seed: 1}", "thaw"),
        ("budget: {trials: 100}", "cap"),
        ("budget: {hours: 2}\nsampler: {name: tpe}", "cap"),
        ("budget: {hours: 2}\nrace: {first: 1}", "cap"),
        ("budget: {hours: 2}\nstop: none", "none"),
    ],
)
def test_the_rule_for_stopping_follows_from_the_budget_and_the_sampler(text: str, stop: str) -> None:
    """Waiting gains where hours limit the search; where trials are counted each trains to its end or its bound."""
    written = SMALL.replace(b"budget: {trials: 4}\n", b"") + f"search: {{depth: {{int: [1, 2]}}}}\n{text}".encode()
    assert check(parse(written, "small.yaml")).spec.stop == stop


def test_before_they_learn_gp_starts_with_8_trials_and_tpe_with_20() -> None:
    assert [Sampler(name=name).startup for name in ("gp", "tpe")] == [8, 20]
    assert Sampler(startup_trials=5).startup == 5


def test_what_is_left_out_has_its_default() -> None:
    assert dict(small("search: {depth: {int: [1, 2]}}").spec) == {
        "name": "small",
        "task": ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y",), modulus=97, train_fraction=0.5),
        "objective": Objective(until="val_accuracy > 0.99", horizon=100, evaluate_every=10, replicates=3),
        "search": {"depth": Int(bounds=(1, 2))},
        "require": (),
        "fixed": {},
        "baselines": {},
        "sampler": Sampler(name="gp", seed=0, startup_trials=None),
        "stop": "cap",
        "prior": (),
        "race": None,
        "confirm": None,
        "budget": Budget(trials=4),
        "resources": Resources(cpu=1.0, gpu=0.0),
        "precision": "float32",
        "results": "results",
        "storage": None,
        "keep": None,
        "start": [],
        "notify": None,
        "trackers": (),
    }


@pytest.mark.parametrize("tail", ["", "\n", "...\n", "# the end"])
@pytest.mark.parametrize("head", ["", "---\n", "%YAML 1.1\n---\n", "\ufeff"])
def test_the_marks_around_a_document_change_nothing(head: str, tail: str) -> None:
    text = head + SMALL.decode() + "search: {depth: {int: [1, 2]}}\n" + tail
    assert check(parse(text.encode(), "small.yaml")).spec == small("search: {depth: {int: [1, 2]}}").spec


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_the_ends_of_lines_change_nothing(line_end: str) -> None:
    text = SMALL.decode() + "search: {depth: {int: [1, 2]}}\n"
    loaded = check(parse(text.replace("\n", line_end).encode(), "small.yaml"))
    assert loaded.spec == small("search: {depth: {int: [1, 2]}}").spec


def test_one_requirement_and_one_operation_need_no_list() -> None:
    loaded = small("search: {depth: {int: [1, 2]}}", "require: depth < 3")
    assert (loaded.spec.require, loaded.spec.task.operation) == (("depth < 3",), ("x_plus_y",))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_every_precision_is_read(precision: str) -> None:
    assert small("search: {depth: {int: [1, 2]}}", f"precision: {precision}").spec.precision == precision


@pytest.mark.parametrize("tail", [0, 1, 10_000_000])
def test_a_tail_is_read_and_may_be_longer_than_the_horizon(tail: int) -> None:
    text = SMALL.decode().replace("{horizon: 100}", f"{{horizon: 100, tail: {tail}}}")
    loaded = check(parse((text + "search: {depth: {int: [1, 2]}}\n").encode(), "small.yaml"))
    assert loaded.spec.objective == Objective(horizon=100, tail=tail)


# ---- other names of schedules


@pytest.mark.parametrize(("alias", "shape"), ALIASES.items())
def test_another_name_of_a_schedule_is_accepted_everywhere(alias: str, shape: str) -> None:
    loaded = small(
        f"search: {{batch.shape: {{choice: [constant, {alias}]}}}}",
        "fixed: {batch.min: 8, batch.max: 64, batch.stages: [[0, 8], [50, 16]]}",
        f"baselines: {{named: {{batch.shape: {alias}}}}}",
    )
    assert loaded.space.settings({"batch.shape": alias}) == loaded.space.settings({"batch.shape": shape})
    assert loaded.space.settings(loaded.spec.baselines["named"]).batch.shape == shape


@pytest.mark.parametrize("asked", ["cyclic", "cosine_cycles"])
@pytest.mark.parametrize("listed", ["cyclic", "cosine_cycles"])
def test_a_condition_holds_under_every_name_of_a_schedule(listed: str, asked: str) -> None:
    loaded = small(
        "search:",
        f"  batch.shape: {{choice: [constant, {listed}]}}",
        f"  batch.cycles: {{int: [1, 8], when: batch.shape == {asked}}}",
        "fixed: {batch.min: 8}",
    )
    assert loaded.space.decode({"batch.shape": 1, "batch.cycles": 3}).get("batch.cycles") == 3


def test_a_baseline_is_a_point_of_the_space_under_every_name_of_its_schedule() -> None:
    loaded = small("search: {batch.shape: {choice: [constant, geometric]}, batch.min: {int: [8, 16]}}")
    assert loaded.space.encode({"batch.shape": "exponential", "batch.min": 9}) == {"batch.shape": 1, "batch.min": 9}


# ---- values tried against requirements


def test_a_step_far_below_the_range_is_a_mistake_or_lists_few_values() -> None:
    with suppress(SpecError):
        loaded = small("search: {weight_decay: {float: [0.1, 1.0], step: 2.0e-5}}")
        assert len(loaded.space.grids["weight_decay"]) <= 10_000


# ---- --set


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("budget.trials=3", {"budget": Budget(trials=3)}),
        ("budget={hours: 0.5}", {"budget": Budget(hours=0.5)}),
        ("budget.hours=2", {"budget": Budget(trials=24, hours=2)}),
        (" stop = none ", {"stop": "none"}),
        ("race.first=2", {"race": Race(first=2, slack=0.5)}),
        ("race={}", {"race": Race(first=1, slack=0.5)}),
        ("results=a=b", {"results": "a=b"}),
        ("require=[]", {"require": ()}),
        ("task.operation=[x_plus_y, x_div_y]", None),
        ("resources.gpu=0.25", {"resources": Resources(cpu=1.0, gpu=0.25)}),
        ("precision=bfloat16", {"precision": "bfloat16"}),
        ("objective.tail=300", {"objective": quickstart()["objective"].model_copy(update={"tail": 300})}),
        ("resources.gpu=auto", {"resources": Resources(cpu=1.0, gpu="auto")}),
        ("sampler.name=random", {"sampler": Sampler(name="random", seed=0, startup_trials=8)}),
        ("fixed.width=128", {"fixed": quickstart()["fixed"] | {"width": 128}}),
        ("fixed.batch.doubling_steps=200", {"fixed": quickstart()["fixed"] | {"batch.doubling_steps": 200}}),
        ("fixed.batch.every=5", {"fixed": quickstart()["fixed"] | {"batch.every": 5}}),
        (
            "search.batch.max={int: [128, 160]}",
            {"search": quickstart()["search"] | {"batch.max": Int(bounds=(128, 160))}},
        ),
        (
            "search.batch.max.int=[128, 160]",
            {"search": quickstart()["search"] | {"batch.max": Int(bounds=(128, 160), log=True)}},
        ),
        (
            "baselines.constant-128.batch.max=96",
            {"baselines": {"constant-128": quickstart()["baselines"]["constant-128"] | {"batch.max": 96}}},
        ),
        (
            "baselines.small.heads=2",
            {"baselines": quickstart()["baselines"] | {"small": {"heads": 2}}},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_set_replaces_one_value_and_leaves_the_rest(setting: str, changed: dict[str, Any] | None) -> None:
    if changed is None:
        task = quickstart()["task"].model_copy(update={"operation": ("x_plus_y", "x_div_y")})
        changed = {"task": task}
    assert dict(load(QUICKSTART, [setting]).spec) == quickstart() | changed


def test_set_may_be_given_many_times_and_the_last_one_counts() -> None:
    loaded = load(QUICKSTART, ["budget.trials=3", "stop=none", "budget.trials=5"])
    assert dict(loaded.spec) == quickstart() | {"budget": Budget(trials=5), "stop": "none"}


def test_set_reaches_into_a_section_that_the_file_leaves_out() -> None:
    loaded = load(QUICKSTART, ["race.first=2"])
    assert loaded.spec.race is not None
    assert (loaded.spec.race.first, loaded.spec.race.slack) == (2, 0.5)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("budget.trials", "--set budget.trials: write key.path=value, as in --set budget.trials=10"),
        ("=3", "--set =3: write key.path=value, as in --set budget.trials=10"),
        ("", "--set : write key.path=value, as in --set budget.trials=10"),
        ("stop.now=1", "--set stop.now=1: stop has a value, not keys below it"),
        ("budget.trials.most=1", "--set budget.trials.most=1: trials has a value, not keys below it"),
        (
            "require=[a",
            "--set require=[a: not YAML: expected ',' or ']', but got '<stream end>'",
        ),
        (
            "budget.trials=many",
            "--set budget.trials=many: budget.trials: got the text 'many'; it must be a whole number",
        ),
        (
            "fixed.learning_rate=1e-3",
            "--set fixed.learning_rate=1e-3: fixed.learning_rate: got the text '1e-3'; it must be a number. "
            "YAML reads 1e-3 as text: write 1.0e-3",
        ),
        (
            "budgte.trials=3",
            "--set budgte.trials=3: budgte: unknown key (did you mean 'budget'?); allowed here: "
            "name, task, objective, search, require, fixed, baselines, start, sampler, stop, prior, race, confirm, "
            "budget, keep, resources, precision, notify, results, storage, trackers",
        ),
        (
            "budget={trials: 3, trials: 4}",
            "--set budget={trials: 3, trials: 4}:1: trials: given twice, first on line 1; keep one",
        ),
    ],
    ids=lambda value: value.partition(":")[0],
)
def test_a_setting_with_a_mistake_is_named_as_it_was_given(setting: str, expected: str) -> None:
    with pytest.raises(UserError) as raised:
        load(QUICKSTART, [setting])
    assert str(raised.value) == expected


# ---- conditions on truth values and words of a task of one's own


class Wordy(Task):
    """A task whose models have a word, a flag and a word with a sign in it."""

    @property
    def models(self) -> Mapping[str, FieldInfo]:
        return {
            "model.act": FieldInfo(annotation=str, default="relu"),
            "model.bias": FieldInfo(annotation=bool, default=True),
            "model.deep": FieldInfo(annotation=Literal["yes-deep", "flat"], default="flat"),  # type: ignore[arg-type]
        }


def wordy(condition: str) -> Loaded:
    text = f"""\
name: wordy
objective: {{horizon: 100, until: val_loss < 1}}
budget: {{trials: 4}}
search:
  model.act: {{choice: [gelu, silu]}}
  model.bias: {{choice: [true, false]}}
  model.deep: {{choice: [yes-deep, flat]}}
  warmup_steps: {{choice: [1, 2], when: "{condition}"}}
"""
    return check(parse(text.encode(), "wordy.yaml"), Wordy(name="wordy"))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("model.bias == true", True),
        ("model.bias != false", True),
        ("model.bias == True", True),
        ("model.bias", True),
        ("not model.bias", False),
        ("model.bias and model.act == gelu", True),
        ("model.act == gelu", True),
        ("model.act == 'gelu'", True),
        ("model.act in [silu, relu]", False),
        ("model.act != 'another'", True),
        ("model.deep == 'yes-deep'", True),
        ("model.deep == flat", False),
    ],
)
def test_a_condition_may_be_about_a_truth_value_or_a_word_of_a_model(condition: str, holds: bool) -> None:
    space = wordy(condition).space
    first = space.decode({"model.act": 0, "model.bias": 0, "model.deep": 0, "warmup_steps": 0})
    assert ("warmup_steps" in first) is holds
    last = space.decode({"model.act": 1, "model.bias": 1, "model.deep": 1, "warmup_steps": 0})
    assert ("warmup_steps" in last) is (condition == "model.act != 'another'" or not holds)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            "model.act == gleu",
            "unknown name 'gleu' in 'model.act == gleu' (did you mean 'gelu'?); values: gelu, silu, relu",
        ),
        ("model.act == 3", "got 'model.act == 3', which compares text with a number"),
        (
            "model.bias or warmup_steps",
            "got 'model.bias or warmup_steps', which is not a comparison; write one such as 'batch.min <= batch.max'",
        ),
        (
            "model.deep == yes-deep",
            "there is no arithmetic with words; a word with signs in it needs quotes: 'yes-deep'",
        ),
    ],
)
def test_a_condition_with_a_word_that_no_value_has_is_a_mistake(condition: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        wordy(condition)
    assert message in str(raised.value)


# ---- the text that is kept


def test_the_text_of_a_file_is_the_file_itself() -> None:
    loaded = load(QUICKSTART)
    assert text_of(loaded.document) == QUICKSTART.read_text()


def test_the_text_with_replaced_values_means_what_was_run() -> None:
    settings = ["fixed.batch.doubling_steps=200", "fixed.learning_rate=1.0e-5", 'name="on"', 'results="1e-3"']
    loaded = load(QUICKSTART, settings)
    again = check(parse(text_of(loaded.document).encode(), "again.yaml"))
    assert again.spec == loaded.spec
    assert again.spec.fixed == {"width": 64, "learning_rate": 1e-5, "batch.doubling_steps": 200}
    assert (again.spec.name, again.spec.results) == ("on", "1e-3")


def test_the_text_with_replaced_values_is_readable() -> None:
    document = parse(SMALL + b"search: {depth: {int: [1, 2]}}\nrequire: [depth < 3]\n", "small.yaml")
    override(document, ["budget.trials=7", "fixed.learning_rate=1.0e-5"])
    assert text_of(document) == (
        "name: small\n"
        "task: {name: modular_arithmetic, operation: x_plus_y}\n"
        "objective: {horizon: 100}\n"
        "budget: {trials: 7}\n"
        "search:\n"
        "  depth:\n"
        "    int: [1, 2]\n"
        "require: [depth < 3]\n"
        "fixed: {learning_rate: 1.0e-05}\n"
    )


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@some
@given(st.dictionaries(text, values, min_size=1, max_size=5))
def test_any_plain_data_survives_being_written_and_read(data: dict[str, Any]) -> None:
    again = parse(text_of(Document("written.yaml", data=data)).encode(), "again.yaml")
    assert (again.data, again.problems) == (data, [])
