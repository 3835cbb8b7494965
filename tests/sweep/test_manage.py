"""Sweeps are removed, renamed, noted and tagged: by command, without training."""

import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from sweeper.api import Sweep as Loaded
from sweeper.api import load
from sweeper.errors import UserError
from sweeper.folder import labels
from sweeper.folder.labels import Labels
from sweeper.folder.layout import SweepFolder
from sweeper.folder.local_copy import local_folder
from sweeper.report.document import figures_of, report_data
from sweeper.report.page import html, markdown
from sweeper.results.query import query
from sweeper.sweep import manage
from sweeper.sweep.resume import locked
from tests.cli.test_main import command, folder
from tests.fakes.mirrored import brought
from tests.fakes.sweeps import QUESTION, Sweep, made_up

__all__ = ["command", "folder"]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return made_up(tmp_path_factory.mktemp("made"))


@pytest.fixture
def sweeps(made: Sweep, folder: Path) -> Path:
    """Two sweeps in results/, first and second."""
    for name in ("first", "second"):
        shutil.copytree(made.folder.root, folder / "results" / name)
    return folder / "results"


@pytest.mark.slow
def test_rm_asks_and_removes_what_it_named(command: Command, sweeps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for answer, code, kept, said in (
        ("", 2, True, "nothing was removed: no answer came; --yes removes without a question\n"),
        ("n\n", 1, True, ""),
        ("y\n", 0, False, ""),
    ):
        monkeypatch.setattr("sys.stdin", StringIO(answer))
        found, out, err = command("rm", "first")
        assert out.startswith("first: 9 trials, 0.") and "MB in results/first" in out
        assert (found, (sweeps / "first").exists(), err) == (code, kept, said)
    assert command("rm", "second", "--yes")[0] == 0
    assert list(sweeps.iterdir()) == []
    assert command("rm", "second", "--yes")[0] == 2


def test_what_is_not_the_sweeps_is_not_removed(command: Command, sweeps: Path) -> None:
    (sweeps / "first" / "thesis.tex").write_text("years of work")
    code, _, err = command("rm", "second", "first", "--yes")
    assert code == 2 and "results/first: holds thesis.tex, which no sweep leaves there" in err
    assert (sweeps / "second").exists(), "all or none"
    elsewhere = sweeps.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (sweeps / "second" / "report").symlink_to(elsewhere)
    assert command("rm", "second", "--yes")[0] == 2 and (elsewhere / "kept").exists()


def test_a_sweep_that_runs_stays_where_it_is(command: Command, sweeps: Path) -> None:
    with locked(SweepFolder(sweeps / "first")):
        for words in (("rm", "first", "--yes"), ("mv", "first", "third")):
            code, _, err = command(*words)
            assert code == 2 and "first: running; `sweeper stop first` ends it first" in err.replace(
                "running here", "running"
            )
    assert (sweeps / "first" / "space.yaml").exists()


def test_mv_renames_and_the_sweep_says_so_and_continues(command: Command, sweeps: Path, made: Sweep) -> None:
    assert command("mv", "first", "renamed")[0] == 0
    loaded = load("renamed")
    assert isinstance(loaded, Loaded) and loaded.spec.name == "renamed" and len(loaded.trials) == 9
    (sweeps / "renamed" / "space.yaml").write_text(f"name: renamed  # of May\n{_without_name(made)}")
    assert command("mv", "renamed", str(sweeps.parent / "deep" / "down" / "1e5"))[0] == 0
    text = (sweeps.parent / "deep" / "down" / "1e5" / "space.yaml").read_text()
    assert text.startswith('name: "1e5" # of May\n')
    for to, words in (("second", "exists already"), (".odd", "got the name '.odd'"), ("s3://b/x", "move the objects")):
        code, _, err = command("mv", "second", to)
        assert code == 2 and words in err.replace("\n", " ")


def _without_name(made: Sweep) -> str:
    """The rest of its space.yaml as a block."""
    from sweeper.config.reader import Document, read, text_of

    data = {key: each for key, each in read(made.folder.space).data.items() if key != "name"}
    return text_of(Document("", data=data))


@pytest.mark.slow
def test_a_sweep_whose_trials_are_in_a_database_goes_with_them(command: Command, folder: Path) -> None:
    from sweeper.search.database import Database
    from sweeper.sweep.launch import launch
    from sweeper.sweep.options import LaunchOptions
    from tests.fakes.launches import quiet
    from tests.fakes.training import always, learns

    space = folder / "space.yaml"
    changes = {"storage": "sqlite:///trials.db", "budget": {"trials": 1}}
    space.write_text(json.dumps(QUESTION | changes))
    launch(space, None, LaunchOptions(where="here", console=quiet(), train=learns(always(20))))
    code, _, err = command("mv", "made-up", "other")
    assert code == 2 and "its trials are in sqlite:///trials.db under its name" in err
    assert "and its trials in sqlite:///trials.db" in command("rm", "made-up", "--yes")[1]
    again = Database("sqlite:///trials.db", "made-up")
    assert again.read() == []
    again.close()


@pytest.mark.slow
def test_notes_and_tags_are_shown_where_the_sweep_is(command: Command, sweeps: Path) -> None:
    assert command("note", "first", "larger batches <late>")[0] == 0
    assert command("tag", "first", "paper", "batches")[1] == "batches paper\n"
    assert command("tag", "second", "paper")[0] == 0
    assert command("note", "first")[1] == "larger batches <late>\n"
    assert command("tag", "first")[1] == "batches paper\n"
    listed = command("list")[1]
    assert "\nfirst: #batches #paper  larger batches <late>\n" in listed and "\nsecond: #paper" in listed
    assert "second" not in command("list", "--tag", "paper", "--tag", "batches")[1]
    assert command("list", "--tag", "nothing")[::2] == (2, "no sweep has the tag nothing; there are: batches, paper\n")
    assert "sweep: #batches #paper  larger batches <late>" in command("show", "first:1")[1]
    found = report_data(SweepFolder(sweeps / "first"), figures_of(SweepFolder(sweeps / "first")))
    assert "#batches #paper  larger batches &lt;late&gt;" in html(found) and "#batches #paper" in markdown(found)
    assert command("tag", "first", "--remove", "paper", "new")[1] == "batches new\n"
    assert command("note", "first", "")[0] == 0
    assert labels.read(SweepFolder(sweeps / "first")) == Labels("", ("batches", "new"))


def test_labels_that_are_not_legal_are_refused(command: Command, sweeps: Path) -> None:
    for words, said in (
        (("tag", "first", "two words"), "got the tag 'two words'"),
        (("tag", "first", "-r", "absent"), "got the tag absent to remove; the sweep has none"),
        (("note", "first", "x" * 2001), "got a note of 2,001 characters; allowed are 2,000"),
    ):
        code, _, err = command(*words)
        assert code == 2 and said in err
    (sweeps / "first" / "labels.json").write_text("[]")
    assert command("note", "first")[0] == 2


def test_in_a_store_labels_are_an_object_and_rm_leaves_nothing(bucket: str, tmp_path: Path, made: Sweep) -> None:
    address = f"{bucket}/made-up"
    files = {
        name: (made.folder.root / name).read_text()
        for name in ("space.yaml", "study.journal", "provenance.json")
        if (made.folder.root / name).exists()
    }
    here = SweepFolder(tmp_path / "here" / "made-up")
    brought(address, here, files)
    labels.write(address, Labels("from afar", ("paper",)))
    read = local_folder(address)
    assert labels.read(read) == Labels("from afar", ("paper",))
    shutil.rmtree(read.root)
    assert labels.read(local_folder(address)) == Labels("from afar", ("paper",))
    brought(address, here, {"study.journal": "more"})
    assert labels.read(local_folder(address)).note == "from afar", "a launch does not touch them"
    assert query(local_folder(address), "SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 0}]
    manage.remove(manage.removal(address))
    with pytest.raises(UserError, match="no sweep here"):
        manage.removal(address)
    from sweeper.folder.object_store import Store

    assert Store(address).listing() == {} and not read.root.exists()
