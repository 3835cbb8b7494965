"""The command line: what each command prints, and what its exit code says."""

import io
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TextIO

import pytest
import typer
from rich.console import Console

import sweeper
from sweeper.cli import main as cli
from sweeper.cli import terminal
from sweeper.config import loading
from sweeper.config.json_schema import json_schema
from sweeper.config.loading import load
from sweeper.environment import machine
from sweeper.environment.machine import Machine
from sweeper.errors import Interrupted, StorageError, SweepFailed, UserError
from sweeper.folder.object_store import Store
from sweeper.report.lines import LastingConsole, to_nowhere
from sweeper.sweep import doctor
from sweeper.sweep.options import LaunchOptions
from tests.fakes.sweeps import QUESTION, Sweep, made_up
from tests.fakes.training import fails, learns

ROOT = Path(sweeper.__file__).parents[1]
QUICKSTART = ROOT / "search_spaces" / "quickstart.yaml"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command on a machine of 8 cores, 32 GiB and 2 GPUs, on a terminal 100 characters wide."""

    def run(*arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(terminal, "out", Console(file=out, width=100))
        monkeypatch.setattr(terminal, "err", Console(file=err, width=100))
        capsys.readouterr()
        code = cli.run(list(arguments))
        printed = capsys.readouterr()
        return code, _trimmed(out.getvalue() + printed.out), _trimmed(err.getvalue() + printed.err)

    monkeypatch.setattr(machine, "look", lambda: Machine(cores=8, memory=32 * 2**30, gpus=2))
    return run


def _trimmed(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# ---- check

PLAN = """\
sweep      quickstart
task       x_plus_y mod 31, 70% of the pairs train
objective  fewest steps until val_accuracy > 0.99, up to 1,500 steps
trials     24, one of them a baseline; 3 runs each
confirm    the 2 best and the baseline again, 8 fresh seeds each
steps      at most 144,000 model updates
resources  1 CPU a trial; this machine has 8 CPU, 2 GPU, 32 GiB: 8 at once
results    results/quickstart

6 dimensions
parameter     values                                    when
batch.shape   constant | linear | geometric | doubling
batch.min     16 to 64 (whole, log)                     batch.shape != constant
batch.max     48 to 128 (whole, log)
weight_decay  0.5 to 1 (real, log)
depth         1 to 2 (whole)
heads         2 | 4 | 8

time       not known: no sweep like it in the results; --measure tries some configurations
"""


def test_check_prints_the_plan_of_quickstart_and_writes_nothing(folder: Path, command: Command) -> None:
    assert command("check", str(QUICKSTART)) == (0, PLAN, "")
    assert list(folder.iterdir()) == []


def test_the_plan_trains_every_baseline_whatever_the_budget(command: Command) -> None:
    baselines = "baselines={a: {heads: 1}, b: {heads: 2}, c: {heads: 4}}"
    changes = ("--set", baselines, "--set", "budget.trials=1", "--set", "confirm=null")
    plan = command("check", str(QUICKSTART), *changes)[1]
    assert "trials     3, all of them baselines; 3 runs each\n" in plan
    assert "at most 13,500 model updates\n" in plan


def test_check_prints_the_plan_with_values_replaced(command: Command) -> None:
    changes = ("resources.gpu=0.25", "confirm={top: 2, replicates: 7}", "budget.hours=1.5", "name=mine")
    expected = (
        PLAN.replace("quickstart", "mine")
        .replace("baseline; 3", "baseline, in at most 1.5 hours over all launches; 3")
        .replace("8 fresh seeds each", "7 fresh seeds each, beyond those hours")
        .replace("144,000", "139,500")
        .replace("1 CPU a", "1 CPU and 0.25 GPU a")
    )
    settings = [each for change in changes for each in ("--set", change)]
    assert command("check", str(QUICKSTART), *settings) == (0, expected, "")


def test_check_says_that_there_are_too_few_confirmations_for_a_verdict(command: Command) -> None:
    _, printed, _ = command("check", str(QUICKSTART), "--set", "confirm.replicates=5")
    few = "5 fresh seeds each; 5 pairs cannot give p < 0.05 in 3 comparisons; at least 7 are needed"
    assert few in " ".join(printed.split())
    assert "cannot give" not in command("check", str(QUICKSTART), "--set", "confirm={top: 1, replicates: 6}")[1]


def test_check_says_what_auto_will_do(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    auto = ("check", str(QUICKSTART), "--set", "resources.gpu=auto")
    fact = "gpu        auto: measured at launch; this machine has"
    expected = PLAN.replace("8 at once", "at most 8 at once").replace("results  ", f"{fact} 2 GPU\nresults  ")
    assert command(*auto) == (0, expected, "")
    monkeypatch.setattr(machine, "look", lambda: Machine(cores=8, memory=32 * 2**30, gpus=0))
    expected = PLAN.replace("2 GPU,", "0 GPU,").replace("results  ", f"{fact} no GPU, so 0\nresults  ")
    assert command(*auto) == (0, expected, "")


@pytest.mark.parametrize(
    ("engine", "gpu", "says"),
    [
        ("on", "0", "on: the trials on a device train in one process there, stacked where they are alike"),
        ("auto", "0", "auto: off, for no trials share a GPU"),
        (
            "auto",
            "0.25",
            "auto: on, for trials share a GPU: the trials on a device train in one process there, stacked",
        ),
        ("auto", "auto", "auto: if trials come to share a GPU, the trials on a device train in one process there,"),
    ],
)
def test_check_says_where_trials_share_an_engine(command: Command, engine: str, gpu: str, says: str) -> None:
    settings = ("--set", f"resources.engine={engine}", "--set", f"resources.gpu={gpu}")
    code, printed, _ = command("check", str(QUICKSTART), *settings)
    assert code == 0
    assert f"engine {says}" in " ".join(printed.split()) + " "


def test_check_says_that_a_launch_would_continue_a_sweep(folder: Path, command: Command) -> None:
    (folder / "results" / "quickstart").mkdir(parents=True)
    (folder / "results" / "quickstart" / "space.yaml").write_text("")
    expected = PLAN.replace("results/quickstart", "results/quickstart (exists: launch continues it)")
    assert command("check", str(QUICKSTART)) == (0, expected, "")


def test_check_says_where_a_sweep_in_an_object_store_runs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPER_CACHE", "/scratch")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    places = "s3://bucket/deep/quickstart, through /scratch/s3/bucket/deep/quickstart"
    expected = PLAN.replace("results/quickstart", places)
    assert command("check", str(QUICKSTART), "--set", "results=s3://bucket/deep/") == (0, expected, "")


def test_check_says_when_no_trial_fits(command: Command) -> None:
    expected = PLAN.replace("1 CPU a trial", "9 CPU a trial").replace("8 at once", "0 at once")
    plan, time = expected.rsplit("\n\n", 1)
    warned = f"{plan}\nNo trial fits on this machine; a cluster may have room for it.\n\n{time}"
    assert command("check", str(QUICKSTART), "--set", "resources.cpu=9") == (0, warned, "")


def test_check_prints_square_brackets_as_they_are_written(folder: Path, command: Command) -> None:
    (folder / "space.yaml").write_text(
        "name: small\n"
        "task: {name: modular_arithmetic, operation: x_plus_y}\n"
        "objective: {horizon: 100}\n"
        "search:\n"
        "  batch.shape: {choice: [constant, linear, cyclic]}\n"
        "  batch.min: {int: [8, 16], when: 'batch.shape in [linear, cyclic]'}\n"
        "budget: {trials: 4}\n"
        "results: '[/bold]'\n"
    )
    assert command("check", "space.yaml") == (
        0,
        "sweep      small\n"
        "task       x_plus_y mod 97, 50% of the pairs train\n"
        "objective  fewest steps until val_accuracy > 0.99, up to 100 steps\n"
        "trials     4; 3 runs each\n"
        "steps      at most 1,200 model updates\n"
        "resources  1 CPU a trial; this machine has 8 CPU, 2 GPU, 32 GiB: 8 at once\n"
        "results    [/bold]/small\n"
        "\n"
        "2 dimensions\n"
        "parameter    values                      when\n"
        "batch.shape  constant | linear | cyclic\n"
        "batch.min    8 to 16 (whole)             batch.shape in [linear, cyclic]\n"
        "\n"
        "time       not known: no sweep like it in the results; --measure tries some configurations\n",
        "",
    )


@pytest.mark.slow
def test_reading_commands_import_what_they_need_and_nothing_that_is_slow(folder: Path) -> None:
    """What each command imports for the first time, of the libraries that take long; each after those before it."""
    sweep = made_up(folder).folder
    commands = {
        ("check", str(QUICKSTART), "--set", "results=s3://bucket/deep"): ["numpy"],
        ("check", str(sweep.space)): ["pyarrow"],
        ("status", "made-up"): [],
        ("list",): [],
        ("show", "made-up:1"): [],
        ("top", "made-up"): [],
        ("compare", "made-up:1", "made-up:2"): [],
        ("query", "made-up", "SELECT * FROM trials JOIN curves USING (trial)", "-o", "answer.txt"): ["duckdb"],
        ("export", "made-up", "trials.csv"): [],
        ("replay", "made-up", "--rule", "race"): [],
        ("replay", "made-up"): ["optuna"],
    }
    slow = ["duckdb", "jinja2", "matplotlib", "multiprocessing", "numpy", "numpy.ma", "obstore", "optuna", "pandas"]
    slow += ["pyarrow", "pyarrow._dataset", "pyarrow.compute", "ray", "scipy", "sklearn", "torch"]
    code = (
        "import json, sys\n"
        "from sweeper.cli import main as cli\n"
        f"for command in {list(commands)!r}:\n"
        "    before = set(sys.modules)\n"
        "    assert cli.run(list(command)) == 0, command\n"
        f"    print(json.dumps([name for name in {slow!r} if name in set(sys.modules) - before]), file=sys.stderr)\n"
    )
    done = process(folder, "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stderr.splitlines() if line.startswith("[")] == list(commands.values())


# ---- init and schema


def test_init_writes_a_file_that_check_accepts(folder: Path, command: Command) -> None:
    wrote = "wrote space.yaml and schema.json; next: sweeper check space.yaml\n"
    assert command("init") == (0, wrote, "")
    assert json.loads((folder / "schema.json").read_text()) == json_schema()
    assert (folder / "space.yaml").read_text().startswith("# yaml-language-server: $schema=schema.json\n")
    code, _, said = command("check", "space.yaml")
    assert (code, said) == (0, "")
    assert load(folder / "space.yaml").spec.name == "my-sweep"


def test_init_writes_where_it_is_told_to(folder: Path, command: Command) -> None:
    assert command("init", "[red].yaml") == (
        0,
        "wrote [red].yaml and schema.json; next: sweeper check [red].yaml\n",
        "",
    )
    assert sorted(each.name for each in folder.iterdir()) == ["[red].yaml", "schema.json"]
    (folder / "schema.json").write_text("mine")
    assert command("init", "blue.yaml") == (0, "wrote blue.yaml; next: sweeper check blue.yaml\n", "")
    assert (folder / "schema.json").read_text() == "mine"


def test_init_refuses_to_overwrite(folder: Path, command: Command) -> None:
    (folder / "space.yaml").write_text("mine")
    assert command("init") == (2, "", "space.yaml already exists; give another name\n")
    assert (folder / "space.yaml").read_text() == "mine"


def test_init_into_a_folder_that_is_not_there_is_a_mistake_of_the_user(folder: Path, command: Command) -> None:
    expected = "nowhere/space.yaml: cannot be written (No such file or directory)\n"
    assert command("init", "nowhere/space.yaml") == (2, "", expected)
    assert list(folder.iterdir()) == []


def test_schema_prints_the_json_schema(command: Command) -> None:
    code, printed, said = command("schema")
    assert (code, json.loads(printed), said) == (0, json_schema(), "")


# ---- replay

RECORD = {
    "objective": {"horizon": 400, "evaluate_every": 10, "replicates": 2},
    "search": {"depth": {"int": [1, 4]}},
    "budget": {"trials": 4},
}


@pytest.fixture
def recorded(folder: Path) -> Sweep:
    """Trials that get there at steps 150, 350, 90 and never."""
    sweep = Sweep(folder, RECORD)
    sweep.launch(learns(lambda assignment, _: [150, 350, 90, None][assignment.number]))
    return sweep


@pytest.mark.usefixtures("recorded")
def test_replay_prints_what_every_rule_would_have_cost(command: Command) -> None:
    expected = (
        "4 trials, one at a time; trial 2 is the best\n"
        "rule    steps  of none  stopped  winner\n"
        "none    1,980     100%   0 of 4  kept\n"
        "cap     1,080      55%   2 of 4  kept\n"
        "race      980      49%   2 of 4  kept\n"
        "asha    1,980     100%   0 of 4  kept\n"
        "median  1,980     100%   0 of 4  kept\n"
    )
    assert command("replay", "results/made-up") == (0, expected, "")


@pytest.mark.usefixtures("recorded")
def test_replay_of_one_rule_and_several_at_once(command: Command) -> None:
    expected = (
        "4 trials, 4 at once; trial 2 is the best\n"
        "rule  steps  of none  stopped  winner\n"
        "cap     780            3 of 4  kept\n"
    )
    assert command("replay", "results/made-up", "--rule", "cap", "--at-once", "4") == (0, expected, "")


@pytest.mark.parametrize("arguments", [("--rule", "hyperband"), ("--at-once", "0")], ids=" ".join)
def test_replay_refuses_what_it_does_not_know(arguments: tuple[str, ...], command: Command) -> None:
    code, printed, said = command("replay", "results/made-up", *arguments)
    assert (code, printed) == (2, "")
    assert f"'{arguments[0]}'" in said
    assert "Value error" not in said


def test_replay_of_a_sweep_without_whole_curves_is_a_mistake_of_the_user(folder: Path, command: Command) -> None:
    Sweep(folder, RECORD).launch(fails)
    expected = f"{Path('results/made-up')}: no trial has whole curves to replay; record some with stop: none\n"
    assert command("replay", "results/made-up") == (2, "", expected)


# ---- exit codes


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("frobnicate",), "Error: No such command 'frobnicate'."),
        (("--frobnicate",), "Error: No such option: --frobnicate"),
        (("check",), "Error: Missing argument 'space'."),
        (("doctor", "--frobnicate"), "Error: No such option: --frobnicate"),
        (("check", "space.yaml", "--set"), "Error: Option '--set' requires an argument."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_command_line_that_cannot_be_read_is_a_mistake_of_the_user(
    arguments: tuple[str, ...], expected: str, folder: Path, command: Command
) -> None:
    code, printed, said = command(*arguments)
    assert (code, printed, said.splitlines()[-1]) == (2, "", expected)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "results/x"),
        ("top", "results/x"),
        ("show", "results/x"),
        ("compare", "results/x", "1"),
        ("query", "results/x", "select 1"),
        ("export", "results/x", "x.csv"),
        ("replay", "results/x"),
        ("resume", "results/x", "--here"),
    ],
    ids=lambda each: each[0],
)
def test_a_folder_without_a_sweep_is_a_mistake_of_the_user(
    arguments: tuple[str, ...], folder: Path, command: Command
) -> None:
    message = "results/x: no sweep here; give the folder that `sweeper launch` named, or its name\n"
    assert command(*arguments) == (2, "", message)
    assert list(folder.iterdir()) == []


def test_a_sweep_in_an_object_store_is_read_by_its_uri(bucket: str, folder: Path, command: Command) -> None:
    address = f"{bucket}/deep/quickstart"
    message = f"{address}: no sweep here; give the folder that `sweeper launch` named, or its name\n"
    assert command("query", address, "select 1 as one") == (2, "", message)
    (folder / "space.yaml").write_bytes(QUICKSTART.read_bytes())
    Store(address).upload(folder / "space.yaml", "space.yaml")
    assert command("query", address, "select 1 as one", "--format", "csv") == (0, "one\n1\n", "")


# ---- what sweeps have left


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a sweep with a baseline and confirmations has left."""
    return made_up(tmp_path_factory.mktemp("left")).folder.root


@pytest.fixture
def finished(folder: Path, left: Path) -> None:
    """It is in results/made-up."""
    shutil.copytree(left, folder / "results" / left.name)


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize(
    ("arguments", "first", "keys"),
    [
        (("list",), "sweep    state     trials", ["sweep", "folder", "state"]),
        (("top", "made-up"), "steps until val_accuracy > 0.99", ["clock", "minimize", "until"]),
        (("show", "made-up:published"), "published, baseline: finished", ["label", "trial", "confirmation"]),
        (("compare", "made-up", "published"), "trial 1 is faster than published by 67 %", ["clock", "a", "b"]),
        (("query", "made-up", "SELECT 1 AS one"), "one", ["one"]),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_what_is_printed_for_people_is_json_for_scripts(
    arguments: tuple[str, ...], first: str, keys: list[str], command: Command
) -> None:
    code, printed, said = command(*arguments)
    assert (code, said) == (0, "")
    assert printed.startswith(first)
    code, printed, said = command(*arguments, "--json")
    assert (code, said) == (0, "")
    data = json.loads(printed)
    assert list(data[0] if isinstance(data, list) else data)[:3] == keys


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_a_folder_of_sweeps_is_asked_as_one(command: Command) -> None:
    sql = "SELECT sweep, count(*) AS trials FROM trials GROUP BY sweep"
    assert command("query", "results", sql, "--format", "csv") == (0, "sweep,trials\nmade-up,9\n", "")
    message = "results: holds 1 sweep; give one, such as results/made-up\n"
    assert command("top", "results") == (2, "", message)


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_export_writes_a_table_or_the_published_shape(folder: Path, command: Command) -> None:
    assert command("export", "made-up", "runs.csv", "--table", "runs") == (0, "wrote runs.csv\n", "")
    assert len((folder / "runs.csv").read_text().splitlines()) == 34
    assert command("export", "made-up:1", "final_info.json", "--shape", "final-info")[0] == 0
    assert list(json.loads((folder / "final_info.json").read_text())) == ["x_plus_y"]


def test_the_list_of_commands_says_each_in_whole_words_at_80_columns(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = command("--help")[1].partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in printed] == list(cli.COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in printed)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example_that_can_be_read(name: str, command: Command) -> None:
    _, example = cli.COMMANDS[name]
    words = shlex.split(example)
    assert words[:2] == ["sweeper", name]
    code, printed, _ = command(name, "--help")
    assert code == 0
    assert " ".join(f"Example: {example}".split()) in " ".join(printed.split())
    asked = typer.main.get_command(cli.assembled())
    arguments = list(itertools.takewhile(lambda word: word != ">", words[2:]))
    assert asked.commands[name].make_context(name, arguments) is not None  # type: ignore[attr-defined]  # a group


@pytest.mark.slow
@pytest.mark.usefixtures("finished")
def test_the_shell_completes_sweeps(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sweeper"],
        cwd=folder,
        env={
            **os.environ,
            "_SWEEPER_COMPLETE": "complete_bash",
            "COMP_WORDS": "sweeper top made",
            "COMP_CWORD": "2",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "made-up" in done.stdout.split(), done


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("you [bold] did it"), 2, "you [bold] did it\n"),
        (SweepFailed("every trial failed"), 1, "every trial failed\n"),
        (StorageError("s3://bucket/x: away"), 1, "s3://bucket/x: away\n"),
        (Interrupted("stopped"), 130, "stopped\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command continues the sweep\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_the_exit_code_says_whose_mistake_it_was(
    error: BaseException, code: int, said: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(loading, "load", fail)
    assert command("check", "space.yaml") == (code, "", said)
    assert list(Path().iterdir()) == []


def test_doctor_says_by_its_exit_code_whether_it_warns(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor.Diagnosis({"system": "Plan 9"}, ("This machine is on fire.",))
    monkeypatch.setattr(doctor, "examine", lambda: iter([doctor.Diagnosis({"system": "Plan 9"}), found]))
    assert command("doctor")[0] == 1
    monkeypatch.setattr(doctor, "examine", lambda: iter([doctor.Diagnosis(found.facts)]))
    assert command("doctor")[0] == 0


def test_a_bug_is_exit_code_3_and_names_its_log(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise ZeroDivisionError("a long story about [red] things that were divided, " + "and divided again, " * 5)

    monkeypatch.setattr(loading, "load", fail)
    monkeypatch.setattr(sys, "argv", ["sweeper", "check", "space.yaml"])
    code, printed, said = command("check", "space.yaml")
    (log,) = folder.iterdir()
    message = "a long story about [red] things that were divided, " + "and divided again, " * 5
    bug = f"a bug in sweeper: ZeroDivisionError: {message}"
    assert (code, printed, said) == (3, "", _trimmed(f"{bug}\nplease report it with {log}"))
    assert log.match("sweeper-bug-*.log")
    head, *_, last = log.read_text().splitlines()
    assert (head, last) == ("command: sweeper check space.yaml", f"ZeroDivisionError: {message}")
    assert "Traceback (most recent call last):" in log.read_text()


def test_a_bug_where_nothing_can_be_written_is_still_told(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(30, "Read-only file system")

    def bug(*_: object) -> NoReturn:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(loading, "load", bug)
    monkeypatch.setattr(Path, "write_text", fail)
    code, printed, said = command("check", "space.yaml")
    assert (code, printed, said.splitlines()[0]) == (3, "", "a bug in sweeper: ZeroDivisionError: division by zero")


@pytest.mark.slow
def test_a_reader_that_stops_reading_is_no_mistake(folder: Path) -> None:
    code = (
        "import os, sys\n"
        "from sweeper.cli import main as cli\n"
        "read, write = os.pipe()\n"
        "os.close(read)\n"
        "os.dup2(write, 1)\n"
        "sys.argv = ['sweeper', 'schema']\n"
        "cli.main()\n"
    )
    done = process(folder, "-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.usefixtures("recorded")
def test_commands_end_in_silence_with_their_reader(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in (
        "list",
        "list --json",
        "top made-up",
        "show made-up:0",
        "status made-up",
        "watch made-up",
        "compare made-up:0 made-up:1",
        "query made-up 'select * from curves'",
        "query made-up 'select * from curves' --format json",
        "replay made-up",
        "schema",
    ):
        with without_reader() as stdout, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(terminal, "out", terminal.console("never"))
            code = cli.run(shlex.split(line))
        assert (code, capsys.readouterr().err) == (0, ""), line


@pytest.mark.slow
def test_a_launch_goes_on_without_its_reader(folder: Path) -> None:
    (folder / "space.yaml").write_text(json.dumps(QUESTION))
    with without_reader() as stdout:
        options = LaunchOptions(where="here", console=LastingConsole(file=stdout), train=learns(lambda *_: 20))
        sweep = sweeper.launch("space.yaml", **vars(options))
    assert len(sweep.trials) == QUESTION["budget"]["trials"]


@contextmanager
def without_reader() -> Iterator[TextIO]:
    """A pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as stdout:
        yield stdout
        to_nowhere(Console(file=stdout))  # as `main` does with what is not flushed before its end


@pytest.mark.slow
def test_python_m_sweeper_is_the_command(folder: Path) -> None:
    done = process(folder, "-m", "sweeper", "init")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "wrote space.yaml and schema.json; next: sweeper check space.yaml\n",
        "",
    )
