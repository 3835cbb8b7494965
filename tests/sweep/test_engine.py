"""Sweeps whose trials share an engine on Ray, and what fails in it: they come to the same as one after the other."""

import os
import signal
import threading
from pathlib import Path

import pandas as pd
import pytest

from sweeper.errors import Interrupted
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from tests.fakes import engines, fragile
from tests.fakes.launches import quiet, wait_for

SPACE = """\
name: small
task: {name: "tests.fakes.fragile:Fragile"}
objective: {until: val_loss < 0.01, horizon: 60, evaluate_every: 5, replicates: 2}
search: {learning_rate: {choice: [RATES]}}
fixed: {batch.max: 8, weight_decay: 0.0, warmup_steps: 0}
sampler: {name: grid}
stop: none
budget: {trials: 100}
resources: {cpu: 2, engine: on}
"""
RATES = [0.1, 0.05, 0.03, 0.02, 0.01, 0.005]


def write(folder: Path, rates: list[float], rest: float = 0.0, most: int = 1000) -> Path:
    """A space.yaml in a new folder, in which its results go too."""
    folder.mkdir()
    text = SPACE.replace("RATES", ", ".join(f"{each:.1e}" for each in rates)).replace(
        'Fragile"', f'Fragile", rest: {rest}, most: {most}'
    )
    (folder / "space.yaml").write_text(text + f"results: {folder}\n")
    return folder / "space.yaml"


def read(space: Path, name: str) -> pd.DataFrame:
    """A table with the learning rate instead of the trial's number, but for times and starts."""
    folder = space.parent / "small"
    trials = pd.read_parquet(folder / "trials").set_index("trial")["learning_rate"]
    found = pd.read_parquet(folder / name)
    found["rate"] = found["trial"].map(trials)
    order = ["rate", *(each for each in ("replicate", "step") if each in found)]
    return found.sort_values(order, ignore_index=True)


def processes(kind: str) -> list[int]:
    """The actors of a kind that are alive, by their processes."""
    from ray._private.state import actors

    alive = [each for each in actors().values() if each["State"] == "ALIVE" and each["ActorClassName"] == kind]
    return [each["Pid"] for each in alive]


def nothing_left() -> bool:
    """Whether engines and their registry are gone."""
    return not processes("Host") and not processes("Registry")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.training.engine.open_engine", engines.eager)


@pytest.mark.usefixtures("local_ray")
def test_on_ray_whatever_fails_in_an_engine_trials_come_to_the_same_as_one_after_the_other(tmp_path: Path) -> None:
    """Memory runs out, a trial raises, another diverges, the engine is killed, Ctrl-C, and another launch."""
    space = write(tmp_path / "together", [*RATES, fragile.DIVERGES, fragile.RAISES], rest=0.01, most=6)
    checkpoints = tmp_path / "together" / "small" / "checkpoints"
    killed: list[int] = []

    def disturb() -> None:
        wait_for(lambda: len(list(checkpoints.glob("*.npz"))) > 1, 300)
        killed.extend(processes("Host"))
        for each in killed:
            os.kill(each, signal.SIGKILL)
        wait_for(lambda: set(processes("Host")) - set(killed), 300)
        os.kill(os.getpid(), signal.SIGINT)

    disturbing = threading.Thread(target=disturb, daemon=True)
    disturbing.start()
    with pytest.raises(Interrupted):
        launch(space, options=LaunchOptions(console=quiet()))
    disturbing.join(300)
    assert len(killed) == 1
    wait_for(nothing_left)
    launch(space, options=LaunchOptions(console=quiet()))
    wait_for(nothing_left)
    apart = write(tmp_path / "apart", [*RATES, fragile.DIVERGES, fragile.RAISES])
    launch(apart, options=LaunchOptions(where="here", console=quiet()))
    trials = read(space, "trials").set_index("rate")
    assert trials["state"].drop(fragile.RAISES).eq("finished").all()
    assert trials.loc[fragile.RAISES, ["state", "why"]].tolist() == ["failed", "error"]
    assert "learning_rate: got 0.5" in trials["detail"][fragile.RAISES]
    assert set(read(space, "runs").query(f"rate == {fragile.DIVERGES}")["outcome"]) == {"diverged"}
    for name in ("curves", "runs"):
        pair = [read(each, name) for each in (space, apart)]
        drop = [each for each in pair[0] if each == "trial" or "seconds" in each]
        pd.testing.assert_frame_equal(*(each.drop(columns=drop) for each in pair), rtol=0, atol=0)
    causes = {str(each) for retries in trials["retries"] for each in retries}
    assert causes - {"error beside others"} == {"out of memory beside others", "worker killed"}
