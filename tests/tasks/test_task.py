"""What a task says of itself, and what follows from it."""

import json
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from pydantic import Field
from pydantic.fields import FieldInfo

from sweeper.space.hyperparameters import fields
from sweeper.tasks.m_height import MHeight
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.task import Task

TRANSFORMERS = {"depth", "width", "heads", "feedforward"}


class Plain(Task):
    """Says nothing but its name."""


class Special(Task):
    """Says everything otherwise."""

    size: int = 3

    @property
    def operations(self) -> tuple[str, ...]:
        return "left", "right"

    @property
    def scores(self) -> Mapping[str, str]:
        return {"error": "Share of wrong answers.", "loss": "Mean loss."}

    @property
    def diagnostics(self) -> Mapping[str, str]:
        return {"heat": "How warm it gets."}

    @property
    def models(self) -> Mapping[str, FieldInfo]:
        return {
            "model.kind": FieldInfo(annotation=Literal["a", "b"], default="a"),
            "model.rank": FieldInfo(annotation=int, default=2, description="Rank."),
        }

    @property
    def without(self) -> frozenset[str]:
        return frozenset({"heads"})

    @property
    def defaults(self) -> Mapping[str, Any]:
        return {"betas": (0.9, 0.99)}

    @property
    def title(self) -> str:
        return f"{self.size} things"


def test_what_a_task_does_not_say() -> None:
    task = Plain(name="package.module:Plain")
    assert task.operations == ("Plain",)
    assert Plain(name="plain").operations == ("plain",)
    assert task.scores == {"loss": "Mean loss."}
    assert task.metrics == ("val_loss", "train_loss", "gradient_norm", "weight_norm", "last_layer_norm")
    assert task.hyperparameters == {key: field for key, field in fields().items() if key not in TRANSFORMERS}
    assert task.all_defaults == {"heads": 1, "feedforward": 1}
    assert (task.title, task.sampled, task.prepares, list(task.mistakes())) == ("Plain", False, False, [])


def test_what_follows_from_what_a_task_says() -> None:
    task = Special(name="special", size=5)
    assert task.metrics == (
        *("val_error", "train_error", "val_loss", "train_loss"),
        *("gradient_norm", "weight_norm", "last_layer_norm", "heat"),
    )
    assert list(task.hyperparameters) == [*(key for key in fields() if key != "heads"), "model.kind", "model.rank"]
    assert task.all_defaults == {
        "heads": 1,
        "feedforward": 1,
        "model.kind": "a",
        "model.rank": 2,
        "betas": (0.9, 0.99),
    }
    assert task.choices("model.kind") == ("a", "b")
    assert task.choices("model.rank") == ()
    assert task.choices("coupling") == ("none", "linear", "sqrt")
    assert task.adapter("model.rank").validate_python(7) == 7
    assert task.adapter("depth").validate_python(2) == 2


def test_the_description_is_plain_data() -> None:
    described = Special(name="special", size=5).description()
    assert json.loads(json.dumps(described)) == {
        "keys": {"name": "special", "size": 5},
        "operations": ["left", "right"],
        "scores": {"error": "Share of wrong answers.", "loss": "Mean loss."},
        "diagnostics": {"heat": "How warm it gets."},
        "metrics": [
            *("val_error", "train_error", "val_loss", "train_loss"),
            *("gradient_norm", "weight_norm", "last_layer_norm", "heat"),
        ],
        "models": {"model.kind": "a", "model.rank": 2},
        "without": ["heads"],
        "defaults": {"betas": [0.9, 0.99]},
        "title": "5 things",
    }


@pytest.mark.parametrize(
    ("key", "field", "message"),
    [
        (
            "rank",
            FieldInfo(annotation=int, default=2),
            "models: got rank; hyperparameters of its models are named model.NAME",
        ),
        ("model.rank", FieldInfo(annotation=int), "model.rank: it has no default"),
        (
            "model.rank",
            FieldInfo.from_annotated_attribute(int, Field(2, ge=3)),
            "model.rank: its default 2 is not legal (Input should be greater than or equal to 3)",
        ),
        (
            "model.rank",
            FieldInfo(annotation=dict, default={}),
            "model.rank: got the type <class 'dict'>; allowed: bool, int, float, str, or a Literal",
        ),
        (
            "model.rank",
            FieldInfo(annotation=Literal[1, None], default=1),
            "model.rank: got the type typing.Literal[1, None]; allowed: bool, int, float, str, or a Literal",
        ),
    ],
)
def test_hyperparameters_of_models_are_plain_and_have_legal_defaults(key: str, field: FieldInfo, message: str) -> None:
    class Odd(Task):
        @property
        def models(self) -> Mapping[str, FieldInfo]:
            return {key: field}

    with pytest.raises(ValueError) as raised:  # noqa: PT011  # the whole text is compared
        Odd(name="odd").description()
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("kind", "default"),
    [(bool, True), (int, 3), (float, 0.5), (str, "a"), (Literal["a", 1, True], 1), (int | float, 0.5), (bool | int, 2)],
)
def test_flags_numbers_and_words_are_plain(kind: Any, default: object) -> None:
    class Even(Task):
        @property
        def models(self) -> Mapping[str, FieldInfo]:
            return {"model.x": FieldInfo(annotation=kind, default=default)}

    assert Even(name="even").description()["models"] == {"model.x": default}


def test_a_task_logs_a_loss() -> None:
    class Lossless(Task):
        @property
        def scores(self) -> Mapping[str, str]:
            return {}

    with pytest.raises(ValueError, match=r"^scores: got none; loss is missing$"):
        Lossless(name="lossless").description()


@pytest.mark.parametrize(
    ("task", "title"),
    [
        (MHeight(name="m_height"), "log2 of the m-height of codes in 21 groups, 5,000 training codes each"),
        (
            ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y", "permutation"), modulus=31),
            "x_plus_y, permutation in S5 mod 31, 50% of the pairs train",
        ),
    ],
    ids=["m_height", "modular_arithmetic"],
)
def test_our_tasks_in_a_few_words(task: Task, title: str) -> None:
    assert task.title == title
    assert task.description()["title"] == title
