"""Whole sweeps, as a user runs them: the command line, real training, real Ray, real Parquet."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from sweeper.errors import SweepFailed, UserError
from sweeper.folder.local_copy import local_folder
from sweeper.results.query import frame
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from sweeper.training import probe
from sweeper.training.probe import Company, Probe
from sweeper.training.train import train
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes import small
from tests.fakes.launches import quiet
from tests.fakes.postgres import Server
from tests.fakes.small import table
from tests.fakes.training_functions import crowded_training


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sweeper", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, start_new_session=True, **pipes)  # type: ignore[call-overload]


def printed_by(*arguments: str | Path) -> str:
    """What a command that ends well prints."""
    process = start(*arguments)
    printed = process.communicate(timeout=200)[0]
    assert process.returncode == 0, printed
    return printed


def outcomes(folder: Path) -> pd.DataFrame:
    """What every run came to, by configuration rather than by trial number."""
    trials = table(folder, "trials")[["trial", "identity"]]
    runs = table(folder, "runs").merge(trials, on="trial")
    columns = ["identity", "replicate", "outcome", "outcome_step", "first_examples", "final_val_loss"]
    return runs[columns].sort_values(["identity", "replicate"]).reset_index(drop=True)


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.25)  # looks cost as much as the launch, which has one core


@dataclass(frozen=True)
class Launched:
    """What a launch came to: the folder of its space.yaml, what it printed, and the rows of `trials` that it left."""

    folder: Path
    printed: str
    trials: pd.DataFrame


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> Launched:
    """Three of five trials on Ray."""
    space, console = small.write(tmp_path_factory.mktemp("launched")), quiet()
    launch(space, ["budget.trials=3", "keep.best=2"], LaunchOptions(console=console))
    return Launched(space.parent, console.file.getvalue(), table(space.parent, "trials"))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def launched_again(launched: Launched) -> Launched:
    """The others, by the command, under `gpu: auto` where there is no GPU."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CUDA_VISIBLE_DEVICES", "")
        more = ("--set", "resources.gpu=auto", "--set", "keep.best=2")
        printed = printed_by("launch", launched.folder / "space.yaml", *more)
    return Launched(launched.folder, printed, table(launched.folder, "trials"))


@pytest.mark.slow
def test_a_launch_on_ray_trains_everything(launched: Launched) -> None:
    opening, *lines = launched.printed.splitlines()
    assert opening == f"small: 8 trials at once, 2 runs each; results in {launched.folder / 'results' / 'small'}"
    assert len([line for line in lines if re.match(r"\[\d+:\d\d(, about [^\]]+ left)?\] trial \d", line)]) == 3
    assert "trial 0 (baseline published): reached 2/2" in launched.printed
    assert "steps until train_accuracy > 0.3" in launched.printed
    assert set(launched.trials["trial"]) == {0, 1, 2}
    assert list(launched.trials["phase"].value_counts().sort_index().items()) == [("baseline", 1), ("search", 2)]


@pytest.mark.slow
def test_another_launch_on_ray_continues_it(launched: Launched, launched_again: Launched, tmp_path: Path) -> None:
    folder, before, after = launched.folder, launched.trials, launched_again.trials
    assert "\nsmall: 3 trials from before, 2 trials at once" in launched_again.printed
    assert "WARNING" not in launched_again.printed
    assert set(after["trial"]) == {0, 1, 2, 3, 4}
    assert after["identity"].is_unique
    kept = after[after["trial"] < 3].sort_values("trial").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before.sort_values("trial").reset_index(drop=True))
    curves = table(folder, "curves")
    assert not curves.duplicated(["trial", "operation", "replicate", "step"]).any()
    provenance = json.loads((folder / "results" / "small" / "provenance.json").read_text())
    assert len(provenance) == 2
    assert provenance[0]["versions"]["torch"]

    # The same configurations in this process, without Ray, come to the same outcomes.
    launch(small.write(tmp_path), options=LaunchOptions(where="here", console=quiet()))
    pd.testing.assert_frame_equal(outcomes(tmp_path), outcomes(folder), rtol=1e-4)


FRESH = """
import sys
import torch
import sweeper
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.learners.modular_arithmetic import build_table, split
from sweeper.trial import seeds_of

sweep, number = sweeper.load(sys.argv[1]), int(sys.argv[2])
table = build_table(sweep.spec.task, "x_plus_y")
for replicate in (0, 1):
    model = sweep.model(number, replicate)
    assert isinstance(model, torch.nn.Module)
    rows = split(table, 0.7, seeds_of(replicate).data).validation
    print((model(table.tokens[rows]).argmax(1) == table.targets[rows]).double().mean().item())
    print(sweep.validate(number, replicate)["val_loss"])
"""


@pytest.mark.slow
def test_the_best_trials_of_two_launches_on_ray_predict_as_recorded_in_a_fresh_process(
    launched_again: Launched,
) -> None:
    ranked = launched_again.trials.sort_values(["value", "trial"])["trial"].tolist()
    folder = launched_again.folder / "results" / "small"
    names = [f"trial-{number:08d}.x_plus_y.{replicate}.safetensors" for number in ranked[:2] for replicate in (0, 1)]
    assert sorted(path.name for path in (folder / "models").iterdir()) == sorted(names)
    command = [sys.executable, "-c", FRESH, str(folder), str(ranked[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    curves = table(launched_again.folder, "curves")
    curves = curves[curves["trial"] == ranked[0]]
    last = [curves[curves["replicate"] == replicate].sort_values("step").iloc[-1] for replicate in (0, 1)]
    assert list(map(float, done.stdout.split())) == [
        value for row in last for value in (row.val_accuracy, row.val_loss)
    ]


@pytest.mark.slow
def test_under_auto_trials_on_ray_train_on_the_cpu_where_there_is_no_gpu(launched_again: Launched) -> None:
    words = "no GPU with 1 CPU beside it, so trials train on the CPU"
    assert launched_again.printed.startswith(f"gpu: auto: {words}\nsmall: ")
    _, record = json.loads((launched_again.folder / "results" / "small" / "provenance.json").read_text())
    assert (record["gpu"]["share"], record["gpu"]["probe"]) == (0, None)


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_learned_and_the_next_launch_goes_on(tmp_path: Path) -> None:
    space = small.write(tmp_path, small.SPACE.replace("horizon: 60", "horizon: 300").replace("> 0.3", "> 1.5"))
    process = start("launch", space, "--here", "--set", "budget.trials=3")
    journal = tmp_path / "results" / "small" / "study.journal"
    wait_for(lambda: journal.exists() and journal.read_text().count('"op_code":4') == 2, process)  # the second begins
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert "stopped by Ctrl-C; the same command continues the sweep" in said
    before = table(tmp_path, "trials").set_index("trial")
    assert before["state"].value_counts().to_dict() == {"finished": 1, "stopped": 1}
    assert len(table(tmp_path, "curves").query("trial == 1")) > 0

    launch(space, ["budget.trials=3"], LaunchOptions(where="here", console=quiet()))
    after = table(tmp_path, "trials").set_index("trial")
    assert after["state"].to_dict() == {0: "finished", 1: "finished", 2: "finished"}
    assert after.loc[0, "started"] == before.loc[0, "started"]
    assert table(tmp_path, "curves").groupby(["trial", "replicate"])["step"].max().unique().tolist() == [300]


@pytest.mark.slow
def test_a_trial_that_was_cut_off_goes_on_to_the_same_curve_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(assignment: Assignment) -> Iterator[Chunk]:
        for count, chunk in enumerate(train(assignment)):
            if count == 3:
                raise Killed
            yield chunk

    starts: list[bool] = []

    def noted(assignment: Assignment) -> Iterator[Chunk]:
        starts.append(assignment.state is not None)
        yield from train(assignment)

    monkeypatch.setattr("sweeper.training.engine.CHUNK_SECONDS", 0.0)
    monkeypatch.setattr("sweeper.training.checkpoint.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("sweeper.training.checkpoint.SHARE", float("inf"))
    curves = []
    for name, cut in (("whole", False), ("cut", True)):
        (tmp_path / name).mkdir()
        space = small.write(tmp_path / name)
        if cut:
            with pytest.raises(Killed):
                launch(space, ["budget.trials=1"], LaunchOptions(where="here", console=quiet(), train=killed))
        launch(space, ["budget.trials=1"], LaunchOptions(where="here", console=quiet(), train=noted))
        curves.append(table(tmp_path / name, "curves").sort_values(["replicate", "step"], ignore_index=True))
    assert starts == [False, True]
    assert len(curves[0]) > 8
    pd.testing.assert_frame_equal(curves[0].drop(columns="seconds"), curves[1].drop(columns="seconds"), rtol=0, atol=0)
    assert (curves[1].groupby("replicate")["seconds"].diff().dropna() > 0).all()


def always_failing(assignment: Assignment) -> Iterator[Chunk]:
    raise ZeroDivisionError("a mistake in the user's code")
    yield


def test_when_the_first_trials_all_fail_the_sweep_stops_and_shows_the_traceback_once(tmp_path: Path) -> None:
    console = quiet()
    with pytest.raises(SweepFailed, match="every trial failed"):
        launch(small.write(tmp_path), options=LaunchOptions(where="here", console=console, train=always_failing))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.count("Traceback (most recent call last)") == 1
    assert said.count(": failed: ZeroDivisionError: a mistake in the user's code") == 3, (
        "the cause in each trial's line"
    )
    trials = table(tmp_path, "trials")
    assert list(trials["state"]) == ["failed"] * 3
    assert list(trials["failed"]) == [2, 2, 2]
    assert trials["detail"].str.contains("ZeroDivisionError").all()


def broken_device(assignment: Assignment) -> Iterator[Chunk]:
    """From the second trial on."""
    if assignment.number > 0:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")
    yield from train(assignment)


@pytest.mark.slow
def test_a_broken_device_ends_the_launch_and_the_next_one_finishes_everything(tmp_path: Path) -> None:
    space = small.write(tmp_path)
    with pytest.raises(SweepFailed) as raised:
        launch(space, options=LaunchOptions(where="here", console=quiet(), train=broken_device))
    assert raised.value.exit_code == 1
    assert str(raised.value) == (
        "3 trials in a row ended because their device failed "
        "(RuntimeError: CUDA error: uncorrectable ECC error encountered); "
        "the same command continues the sweep on a device that works"
    )
    trials = table(tmp_path, "trials").sort_values("trial")
    assert list(zip(trials["state"], trials["why"], strict=True)) == [("finished", ""), ("failed", "device failed")]

    launch(space, options=LaunchOptions(where="here", console=quiet()))
    after = table(tmp_path, "trials").sort_values("trial")
    assert list(after["state"]) == ["finished"] * 5
    assert [list(each) for each in after["retries"]] == [[], ["device failed"] * 3, [], [], []]
    assert list((tmp_path / "results" / "small" / "checkpoints").iterdir()) == []


@pytest.mark.slow
def test_a_trial_that_diverges_is_an_outcome_and_the_sweep_goes_on(tmp_path: Path) -> None:
    wild = "  wild: {batch.max: 24, heads: 1, learning_rate: 100.0, weight_decay: 100.0}\nsampler"
    space = small.write(tmp_path, small.SPACE.replace("sampler", wild, 1))
    launch(space, ["budget.trials=3"], LaunchOptions(where="here", console=quiet()))
    trials = table(tmp_path, "trials").set_index("name")
    assert trials.loc["wild", ["reached", "diverged", "state"]].tolist() == [0, 2, "finished"]
    assert trials["value"].idxmax() == "wild"
    assert trials["rmst"].max() == 60


@pytest.mark.slow
def test_finalists_and_baselines_are_confirmed_on_fresh_seeds(tmp_path: Path) -> None:
    space = small.write(tmp_path, small.SPACE + "confirm: {top: 1, replicates: 3}\n")
    console = quiet()
    launch(space, ["budget.trials=3"], LaunchOptions(where="here", console=console))
    trials, runs = table(tmp_path, "trials"), table(tmp_path, "runs")
    best = trials[trials["phase"] == "search"].sort_values(["value", "trial"])["trial"].iloc[0]
    confirmed = trials[trials["phase"] == "confirm"]
    assert set(confirmed["name"]) == {str(best), "0"}
    again = runs[runs["trial"].isin(confirmed["trial"])]
    assert sorted(set(again["replicate"])) == [1000, 1001, 1002]
    assert not set(again["order_seed"]) & set(runs[~runs["trial"].isin(confirmed["trial"])]["order_seed"])
    assert "confirmed on fresh seeds" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_several_operations_train_in_one_trial(tmp_path: Path) -> None:
    task = "operation: [x_plus_y, x_minus_y, permutation], degree: 3"
    space = small.write(tmp_path, small.SPACE.replace("operation: x_plus_y", task))
    launch(space, ["budget.trials=2"], LaunchOptions(where="here", console=quiet()))
    runs, trials = table(tmp_path, "runs"), table(tmp_path, "trials")
    assert runs.groupby("trial")["operation"].nunique().tolist() == [3, 3]
    means = [dict(pairs) for pairs in trials["rmst_by_operation"]]
    geometric = [(m["x_plus_y"] * m["x_minus_y"] * m["permutation"]) ** (1 / 3) for m in means]
    assert trials["rmst"].tolist() == pytest.approx(geometric)


@pytest.mark.usefixtures("local_ray")
def test_a_race_on_ray_trains_stages_of_one_trial_one_after_the_other(tmp_path: Path) -> None:
    space = small.write(tmp_path, small.SPACE.replace("replicates: 2", "replicates: 3"))
    launch(space, ["stop=cap", "race={first: 1, slack: 0.1}", "resources.cpu=4"], LaunchOptions(console=quiet()))
    trials, runs, curves = (table(tmp_path, name) for name in ("trials", "runs", "curves"))
    assert sorted(trials["trial"]) == [0, 1, 2, 3, 4]
    assert set(trials["state"]) <= {"finished", "lost", "capped"}
    assert trials.set_index("trial").loc[0, ["state", "runs"]].tolist() == ["finished", 3]
    for _, row in trials.iterrows():
        mine = runs[runs["trial"] == row["trial"]]
        assert sorted(mine["replicate"]) == list(range(row["runs"]))
        assert row["state"] == "lost" or row["runs"] == 3
        assert set(curves[curves["trial"] == row["trial"]]["replicate"]) == set(mine["replicate"])
    assert not curves.duplicated(["trial", "operation", "replicate", "step"]).any()
    assert runs.groupby("replicate")["order_seed"].nunique().tolist() == [1, 1, 1]


def probed(train: Train, heaviest: Assignment, most: int) -> Probe:
    """Two trials a GPU, by decree; notes what it was asked."""
    assert (heaviest.settings.batch.max, heaviest.replicates, most) == (24, (0, 1), 4)
    alone, two = Company(1, 100.0, 2**30), Company(2, 150.0, 2**31)
    return Probe((alone, two), "4 at once gain less than 5%")


@pytest.mark.usefixtures("local_ray")
def test_under_auto_on_ray_the_share_is_measured_and_raised_when_memory_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "probe", probed)
    devices = tmp_path / "devices"
    devices.mkdir()
    console = quiet()
    folder = launch(
        small.write(tmp_path),
        ["resources.gpu=auto"],
        LaunchOptions(console=console, train=partial(crowded_training, devices, 1)),
    )
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    words = (
        "measured 0.5 (2 trials at once: 150 model steps/s against 100 alone, 1.0 GiB each; "
        "4 at once gain less than 5%)"
    )
    assert said[:2] == ["gpu: auto: measuring how many trials share a GPU", f"gpu: auto: {words}"]
    assert said[2].startswith("small: 4 trials at once, 2 runs each")
    notice = r"\[0:\d\d\] trial \d starts again: out of memory with 0.5 GPU; it and those after it get 1"
    assert [line for line in said if re.fullmatch(notice, line)]
    # Every trial finished, once, and nothing is left of the starts that ran out of memory.
    trials = table(tmp_path, "trials")
    assert sorted(zip(trials["trial"], trials["state"], strict=True)) == [(n, "finished") for n in range(5)]
    assert not table(tmp_path, "curves").duplicated(["trial", "operation", "replicate", "step"]).any()
    assert sorted((devices / "finished").read_text().split()) == ["0", "1", "2", "3", "4"]
    (record,) = json.loads(folder.provenance.read_text())
    assert (record["gpu"]["share"], record["gpu"]["words"]) == (0.5, words)
    assert record["gpu"]["probe"]["companies"][1] == {"trials": 2, "rate": 150.0, "memory": 2**31}


@pytest.mark.slow
def test_in_one_process_auto_measures_nothing(tmp_path: Path) -> None:
    console = quiet()
    launch(
        small.write(tmp_path), ["resources.gpu=auto", "budget.trials=1"], LaunchOptions(where="here", console=console)
    )
    assert console.file.getvalue().startswith("small: 1 trial at once")  # type: ignore[attr-defined]
    assert list(table(tmp_path, "trials")["state"]) == ["finished"]


@pytest.mark.slow
def test_the_time_budget_stops_trials_which_the_next_launch_takes_up(tmp_path: Path) -> None:
    slow = small.SPACE.replace("horizon: 60", "horizon: 600").replace("> 0.3", "> 1.5")
    space = small.write(tmp_path, slow.replace("{trials: 5}", "{trials: 1, hours: 0.0001}"))
    console = quiet()
    launch(space, options=LaunchOptions(where="here", console=console))
    assert "the time budget is used up, over all launches" in console.file.getvalue()  # type: ignore[attr-defined]
    assert list(table(tmp_path, "trials")["state"]) == ["stopped"]
    launch(space, ["budget.hours=1"], LaunchOptions(where="here", console=quiet()))
    assert list(table(tmp_path, "trials")["state"]) == ["finished"]


def test_results_on_s3_are_those_of_a_local_folder(tmp_path: Path, bucket: str) -> None:
    console = quiet()
    folder = launch(small.write(tmp_path), [f"results={bucket}/deep"], LaunchOptions(where="here", console=console))
    address = f"{bucket}/deep/small"
    assert folder.root.is_relative_to(tmp_path / "cache")
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.startswith(f"small: 1 trial at once, 2 runs each; results in {address}\n")
    for name in ("trials", "runs", "curves"):
        pd.testing.assert_frame_equal(pd.read_parquet(f"{address}/{name}"), pd.read_parquet(folder.table(name)))
    assert sorted(pd.read_parquet(f"{address}/trials")["trial"]) == [0, 1, 2, 3, 4]

    shutil.rmtree(tmp_path / "cache")
    again = launch(small.write(tmp_path), [f"results={bucket}/deep"], LaunchOptions(where="here", console=console))
    assert again == folder
    said = console.file.getvalue().removeprefix(said)  # type: ignore[attr-defined]
    assert said.startswith(f"downloading {address} to {folder.root}\nsmall: 5 trials from before, 1 trial at once")


@pytest.mark.slow
def test_when_the_head_and_its_disk_die_another_goes_on_from_s3(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = small.write(tmp_path, small.SPACE.replace("horizon: 60", "horizon: 600").replace("> 0.3", "> 1.5"))
    there = f"results={bucket}"
    head = start("launch", space, "--here", "--set", there)
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "another"))
    try:
        stored: dict[int, object] = {}

        def some_are_stored() -> bool:
            reading = local_folder(f"{bucket}/small")
            if reading.space.exists():
                trials = frame(reading, "select trial, started from trials where state = 'finished'")
                stored.update(trials.set_index("trial")["started"].to_dict())
            return len(stored) >= 2

        wait_for(some_are_stored, head)
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.communicate()
    shutil.rmtree(tmp_path / "cache")
    shutil.rmtree(tmp_path / "another")

    console = quiet()
    launch(space, [there], LaunchOptions(where="here", console=console))
    assert f"(process {head.pid}), which has not responded for 0.7 s" in console.file.getvalue()  # type: ignore[attr-defined]
    trials = pd.read_parquet(f"{bucket}/small/trials").set_index("trial")
    assert sorted(trials.index) == [0, 1, 2, 3, 4]
    assert trials["identity"].is_unique
    assert {number: trials.loc[number, "started"] for number in stored} == stored

    launch(space, options=LaunchOptions(where="here", console=quiet()))
    runs = pd.read_parquet(f"{bucket}/small/runs").merge(trials.reset_index()[["trial", "identity"]], on="trial")
    undisturbed = outcomes(tmp_path)
    ordered = runs[undisturbed.columns].sort_values(["identity", "replicate"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(ordered, undisturbed, rtol=1e-4)


@pytest.mark.slow
def test_with_postgresql_a_killed_launch_loses_and_repeats_nothing(tmp_path: Path, postgres: Server) -> None:
    space = small.write(tmp_path, small.SPACE.replace("name: small", "name: small\nstorage: " + postgres.url))
    process = start("launch", space, "--here")
    trials = tmp_path / "results" / "small" / "trials"
    wait_for(lambda: trials.exists() and len(table(tmp_path, "trials")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finished = table(tmp_path, "trials").set_index("trial")["started"].to_dict()
    launch(space, options=LaunchOptions(where="here", console=quiet()))
    after = table(tmp_path, "trials").set_index("trial")
    assert sorted(after.index) == [0, 1, 2, 3, 4]
    assert after["identity"].is_unique
    assert {number: after.loc[number, "started"] for number in finished} == finished
    assert not (tmp_path / "results" / "small" / "study.journal").exists()


def test_a_database_and_a_folder_that_do_not_belong_together_are_refused(tmp_path: Path, postgres: Server) -> None:
    url = postgres.url
    space = small.write(tmp_path, small.SPACE.replace("name: small", f"name: small-{tmp_path.name}\nstorage: {url}"))
    folder = launch(space, ["budget.trials=1"], LaunchOptions(where="here", console=quiet()))
    name = folder.root.name
    away = folder.root.rename(tmp_path / "away")
    with pytest.raises(UserError) as raised:
        launch(space, ["budget.trials=2"], LaunchOptions(where="here", console=quiet()))
    assert str(raised.value) == (
        f"storage {url}: holds a sweep {name} with 1 trial already, and {folder.root} is new; give this one another "
        "name, or put back the folder that belongs to it"
    )
    shutil.rmtree(folder.root)
    away.rename(folder.root)
    launch(space, ["budget.trials=2"], LaunchOptions(where="here", console=quiet()))

    postgres.run(f"update studies set study_name = '{name} of others' where study_name = '{name}'")
    with pytest.raises(UserError) as raised:
        launch(space, ["budget.trials=3"], LaunchOptions(where="here", console=quiet()))
    assert str(raised.value) == (
        f"{folder.root}: its tables hold trial 0, which storage {url} does not; restore the one that belongs to them, "
        "or give this sweep another name"
    )


@pytest.mark.slow
def test_tables_without_their_journal_are_refused(tmp_path: Path) -> None:
    space = small.write(tmp_path)
    folder = launch(space, ["budget.trials=1"], LaunchOptions(where="here", console=quiet()))
    folder.journal.unlink()
    with pytest.raises(UserError, match=f"its tables hold trial 0, which {folder.journal} does not"):
        launch(space, ["budget.trials=2"], LaunchOptions(where="here", console=quiet()))


@pytest.mark.slow
def test_a_changed_storage_is_another_question(tmp_path: Path) -> None:
    space = small.write(tmp_path)
    launch(space, ["budget.trials=1"], LaunchOptions(where="here", console=quiet()))
    with pytest.raises(UserError, match="storage"):
        launch(space, [f"storage=sqlite:///{tmp_path / 'trials.db'}"], LaunchOptions(where="here", console=quiet()))
    assert not (tmp_path / "trials.db").exists()
