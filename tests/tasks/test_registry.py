"""Names of tasks: what leads to one, what is said where none is, and what is remembered of a user's own."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweeper.cli import main as cli
from sweeper.config.loading import load
from sweeper.config.saved import DESCRIPTION, saved_spec
from sweeper.environment import provenance
from sweeper.errors import SpecError, UserError
from sweeper.folder.layout import SweepFolder
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from sweeper.tasks.m_height import MHeight
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.registry import SavedTask, is_import_path, task_type
from sweeper.tasks.task import Task
from tests.fakes.modules import DOTS, SPACE, Folder, forget
from tests.fakes.tasks import Line, Rings, Rule, named


def complaint(space: Path) -> str:
    """All of what `sweeper check` says, without the folder."""
    with pytest.raises(SpecError) as raised:
        load(space)
    return str(raised.value).replace(f"{space.parent}/", "")


def test_names_lead_to_our_tasks_and_to_classes() -> None:
    assert task_type("modular_arithmetic") is ModularArithmetic
    assert task_type("m_height") is MHeight
    assert task_type("tests.fakes.tasks:Rings") is Rings


@pytest.mark.parametrize("name", ["a:B", "a.b_2.c:_D9"])
def test_a_path_is_a_users_own(name: str) -> None:
    assert is_import_path(name)


@pytest.mark.parametrize(
    "name", ["m_height", "", "a:", ":B", "a.b", "a:B:C", "a..b:C", "a b:C", "a:B\n", "2:B", "a:B.C"]
)
def test_what_is_no_path_is_none(name: str) -> None:
    assert not is_import_path(name)


ALLOWED = "allowed: modular_arithmetic, m_height, or your own as package.module:Class"
LINE = "space.yaml:2: task.name: "


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("modular_aritmetic", f"got 'modular_aritmetic' (did you mean 'modular_arithmetic'?); {ALLOWED}"),
        ("sorting", f"got 'sorting'; {ALLOWED}"),
        ("nowhere.dots", f"got 'nowhere.dots'; {ALLOWED}"),
        (
            "nowhere_at_all.tasks:Dots",
            "got 'nowhere_at_all.tasks:Dots', and this Python has no module nowhere_at_all; install it, or add its "
            "folder to PYTHONPATH",
        ),
    ],
)
def test_a_name_that_leads_nowhere_is_one_mistake_in_its_line(name: str, expected: str, folder: Folder) -> None:
    # What the other sections say of hyperparameters and metrics cannot be judged.
    assert complaint(folder.space(json.dumps(name))).splitlines()[0] == LINE + expected


def test_what_only_an_unknown_task_has_is_not_called_a_mistake(folder: Folder) -> None:
    assert complaint(folder.space("'nowhere:Dots'")).count("\n") == 0


MODULE = [
    ("raises", "raise RuntimeError('no data here\\nat all')", "importing own raised RuntimeError: no data here"),
    ("does not parse", "def f(:", "importing own raised SyntaxError: invalid syntax (own.py, line 2)"),
    (
        "has no such class",
        "class Spots(ModuleTask): pass",
        "own has no class Dots that is a sweeper task (docs/tasks.md)",
    ),
    ("has a plain class", "class Dots: pass", "own has no class Dots that is a sweeper task (docs/tasks.md)"),
    ("has an instance", "Dots = 3", "own has no class Dots that is a sweeper task (docs/tasks.md)"),
    (
        "has half a class",
        "class Dots(ModuleTask):\n    def data(self, seed): ...",
        "Dots is incomplete; missing: loss, model (docs/tasks.md)",
    ),
    (
        "has a key without a type",
        "class Dots(ModuleTask):\n    noise = 0.1",
        "importing own raised PydanticUserError: A non-annotated attribute was detected: `noise = 0.1`. All model "
        "fields require a type annotation; if `noise` is not meant to be a field, you may be able to resolve this "
        "error by annotating it as a `ClassVar` or updating `model_config['ignored_types']`.",
    ),
]


@pytest.mark.parametrize(("text", "expected"), [each[1:] for each in MODULE], ids=[each[0] for each in MODULE])
def test_a_module_that_holds_no_task_is_one_mistake(text: str, expected: str, folder: Folder) -> None:
    folder.module("own", text)
    assert complaint(folder.space("'own:Dots'")) == f"{LINE}got 'own:Dots'; {expected}"


def test_a_module_that_lacks_another_says_which(folder: Folder) -> None:
    folder.module("own", "import nowhere_at_all")
    assert complaint(folder.space("'own:Dots'")) == (
        f"{LINE}got 'own:Dots', and this Python has no module nowhere_at_all; install it, or add its folder to "
        "PYTHONPATH"
    )


CANNOT = [
    (
        "an argument without a type",
        "def model(self, hidden=3): ...",
        "TypeError: Dots.model: hidden needs a type and a default, as in width: int = 64",
    ),
    (
        "an argument without a default",
        "def model(self, hidden: int): ...",
        "TypeError: Dots.model: hidden needs a type and a default, as in width: int = 64",
    ),
    (
        "a default of another type",
        "def model(self, hidden: int = 0.5): ...",
        "ValueError: model.hidden: its default 0.5 is not legal (Input should be a valid integer)",
    ),
    (
        "an argument that may be None",
        "def model(self, hidden: int | None = None): ...",
        "ValueError: model.hidden: got the type int | None; allowed: bool, int, float, str, or a Literal",
    ),
    (
        "a list",
        "def model(self, hidden: list[int] = []): ...",
        "ValueError: model.hidden: got the type list[int]; allowed: bool, int, float, str, or a Literal",
    ),
    (
        "a type that is nowhere",
        "def model(self, hidden: 'Width' = 3): ...",
        "NameError: name 'Width' is not defined",
    ),
    (
        "no loss",
        "def model(self): ...\n    scores = property(lambda self: {'accuracy': 'Share.'})",
        "ValueError: scores: got accuracy; loss is missing",
    ),
    (
        "a name that is no column's",
        "def model(self): ...\n    scores = property(lambda self: {'loss': 'Loss.', 'top 5': 'Share.'})",
        "ValueError: got 'top 5'; a score's or diagnostic's name has letters, digits and underscores",
    ),
    (
        "names that are taken",
        "def model(self): ...\n    diagnostics = property(lambda self: {'val_loss': 'Loss.', 'step': 'Step.'})",
        "ValueError: diagnostics: got step, val_loss; every task logs that already; choose another name",
    ),
    (
        "what raises",
        "def model(self): ...\n    diagnostics = property(lambda self: 1 / 0)",
        "ZeroDivisionError: division by zero",
    ),
]


@pytest.mark.parametrize(("model", "expected"), [each[1:] for each in CANNOT], ids=[each[0] for each in CANNOT])
@pytest.mark.parametrize("keys", ["", ", nosie: 0.1"])
def test_a_class_that_cannot_say_what_it_is_is_a_mistake(model: str, expected: str, keys: str, folder: Folder) -> None:
    """Whatever else is wrong in its section."""
    folder.module(
        "own", f"class Dots(ModuleTask):\n    def data(self, seed): ...\n    def loss(self, o, t): ...\n    {model}\n"
    )
    space = folder.space("NAME", SPACE.replace("{name: NAME}", f"{{name: 'own:Dots'{keys}}}"))
    if keys:
        assert complaint(space) == "space.yaml:2: task.nosie: unknown key; allowed here: name"
    else:
        assert complaint(space) == f"{LINE}the declaration of own:Dots failed: {expected}"


def test_mistakes_in_a_users_own_section_and_in_others_come_together(folder: Folder) -> None:
    folder.module("own", DOTS)
    text = SPACE.replace("{name: NAME}", "{name: 'own:Dots', count: x}").replace("model.hidden", "model.hiden")
    assert complaint(folder.space("NAME", text)).splitlines() == [
        "space.yaml:2: task.count: got the text 'x'; it must be a whole number",
        "space.yaml:5: search.model.hiden: unknown hyperparameter (did you mean 'model.hidden'?); allowed: "
        + ", ".join(task_type("own:Dots").model_construct(name="Dots").hyperparameters),
    ]


@pytest.mark.parametrize(("layer", "named"), [("BatchNorm1d(hidden)", "BatchNorm1d"), ("Dropout(0.1)", "Dropout")])
def test_a_layer_that_cannot_train_stacked_is_named_before_anything_is_scheduled(
    layer: str, named: str, folder: Folder
) -> None:
    folder.module("layered", DOTS.replace("nn.Tanh()", f"nn.{layer}").replace("class Dots", "class Layered") + " ")
    with pytest.raises(SpecError, match=f"task: model: the layer 1 is a {named}, which "):
        load(folder.space("'layered:Layered'"))


def test_a_task_says_which_of_its_keys_do_not_fit(folder: Folder) -> None:
    folder.module("own", DOTS)
    text = SPACE.replace("{name: NAME}", "{name: 'own:Dots', count: 7}")
    assert complaint(folder.space("NAME", text)) == "space.yaml:2: task.count: got 7; it has to be even"


# ---- what is remembered


@pytest.mark.parametrize(
    "task",
    [
        named(Rings, count=20),
        named(Rule),
        named(Line),
        MHeight(name="m_height", groups=((9, 4, 2),)),
        ModularArithmetic(name="modular_arithmetic", operation=("x_plus_y", "permutation")),
    ],
    ids=lambda task: type(task).__name__,
)
def test_what_is_remembered_says_what_the_task_said(task: Task) -> None:
    again = SavedTask.from_description(json.loads(json.dumps(task.description())))
    assert json.loads(json.dumps(again.description())) == json.loads(json.dumps(task.description()))
    for name in ("name", "title", "operations", "scores", "diagnostics", "metrics", "without"):
        assert getattr(again, name) == getattr(task, name), name
    assert list(again.hyperparameters) == list(task.hyperparameters)
    assert {key: field.default for key, field in again.models.items()} == {
        key: field.default for key, field in task.models.items()
    }


@pytest.fixture
def swept(folder: Folder) -> SweepFolder:
    """A sweep over a task whose module is then nowhere."""
    module = folder.module("dots", DOTS)
    launched = launch(folder.space("'dots:Dots'"), options=LaunchOptions(where="here"))
    assert module.with_suffix(".imported").read_text() == "again\n"
    module.rename(folder.path / "moved.txt")
    shutil.rmtree(folder.path / "__pycache__", ignore_errors=True)
    forget(folder.path)
    return launched


@pytest.mark.slow
def test_results_are_read_where_the_module_is_gone(swept: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    spec = saved_spec(swept)
    assert isinstance(spec.task, SavedTask)
    assert (spec.task.name, spec.task.title, spec.task.model_extra) == ("dots:Dots", "Dots", {"count": 40})
    assert spec.given == {
        **{"heads": 1, "feedforward": 1, "weight_decay": 0.0},
        **{"batch.max": 8, "learning_rate": 0.05, "warmup_steps": 0},
    }
    for words in (["top"], ["list"], ["show"], ["report"]):
        where = f"{swept.root}:0" if words == ["show"] else str(swept.root.parent if words == ["list"] else swept.root)
        assert cli.run([*words, where]) == 0, capsys.readouterr()


@pytest.mark.slow
def test_reading_runs_no_code_of_the_task(swept: SweepFolder, folder: Folder) -> None:
    (folder.path / "moved.txt").rename(folder.path / "dots.py")
    assert saved_spec(swept).task.title == "Dots"
    assert cli.run(["top", str(swept.root)]) == 0
    assert (folder.path / "dots.imported").read_text() == "again\n"


def test_going_on_needs_the_module(swept: SweepFolder, folder: Folder) -> None:
    with pytest.raises(SpecError, match="this Python has no module dots; install it"):
        launch(folder.path / "space.yaml", options=LaunchOptions(where="here"))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [None, 3, {}, {"keys": {}}, {"keys": {"name": 3}}])
def test_a_damaged_description_is_a_mistake_with_a_remedy(swept: SweepFolder, damage: Any) -> None:
    launches = provenance.launches(swept)
    launches[-1][DESCRIPTION] = damage
    swept.provenance.write_text(json.dumps(launches))
    with pytest.raises(UserError) as raised:
        saved_spec(swept)
    told = str(raised.value)
    assert told.startswith(f"{swept.provenance}: does not describe the task dots:Dots (")
    assert told.endswith("); put back the file that belongs to this sweep")


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        {"scores": 3},
        {"scores": {"loss": "", "x FROM trials": ""}},
        {"models": {"model.hidden": [1]}},
        {"operations": None},
    ],
)
def test_half_a_description_is_a_mistake(swept: SweepFolder, damage: dict[str, Any]) -> None:
    launches = provenance.launches(swept)
    launches[-1][DESCRIPTION] |= damage
    swept.provenance.write_text(json.dumps(launches))
    with pytest.raises(SpecError, match="the declaration of dots:Dots failed"):
        saved_spec(swept)
