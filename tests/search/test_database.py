"""A study in real databases: what others may do there, who may not, and what is said when there is no way in.

`tests/search/test_study.py` runs on databases too.
"""

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from sweeper.config.model import Sampler
from sweeper.errors import StorageError, UserError
from sweeper.search.database import Database
from sweeper.search.study import Study
from sweeper.space.space import Choice, Float, Int, Space
from tests.fakes.postgres import PASSWORD, Server

SPACE = Space({"weight_decay": Float(float=(0.01, 0.1), log=True), "depth": Int(int=(1, 4))}, {}, (), 200)


def opened(database: Database, space: Space = SPACE) -> Study:
    return Study(database, space, Sampler(name="random"), 3)


def run(study: Study, trials: int) -> list[int]:
    """Suggest and tell; the trials' numbers."""
    numbers = []
    for _ in range(trials):
        proposal = study.suggest()
        assert proposal is not None
        study.tell(proposal.number, float(proposal.number))
        numbers.append(proposal.number)
    return numbers


def refused(url: str, name: str = "mine") -> str:
    with pytest.raises(UserError) as caught:
        Database(url, name)
    return str(caught.value)


def test_sweeps_share_a_database_and_count_their_own_trials(postgres: Server) -> None:
    with closing(Database(postgres.url, "one")) as first, closing(Database(postgres.url, "two")) as second:
        one, two = opened(first), opened(second)
        assert [run(study, 1) for study in (one, two, one, two, one)] == [[0], [0], [1], [1], [2]]
    with closing(Database(postgres.url, "one")) as again:
        assert opened(again).values() == {0: 0.0, 1: 1.0, 2: 2.0}


def test_one_launch_at_a_time_uses_a_study(postgres: Server) -> None:
    words = f"storage {postgres.url}: another launch is running locked; wait for it, or change name"
    with closing(Database(postgres.url, "locked")):
        assert refused(postgres.url, "locked") == words
    Database(postgres.url, "locked").close()


@pytest.mark.slow
def test_the_lock_dies_with_its_process(postgres: Server) -> None:
    code = (
        "import sys\n"
        "from sweeper.search.database import Database\n"
        "held = Database(sys.argv[1], 'killed')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, postgres.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert "another launch is running killed" in refused(postgres.url, "killed")
        process.kill()
        process.wait()
    for _ in range(200):  # until the server has noticed
        try:
            return Database(postgres.url, "killed").close()
        except UserError:
            threading.Event().wait(0.05)
    pytest.fail("the lock of a dead process is still held")


def end_connections(server: Server) -> None:
    server.run("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname <> ''")


def test_a_server_that_starts_again_ends_no_launch(postgres: Server) -> None:
    with closing(Database(postgres.url, "restarted")) as database:
        study = opened(database)
        assert run(study, 2) == [0, 1]
        end_connections(postgres)
        assert run(study, 2) == [2, 3]
        assert "another launch is running restarted" in refused(postgres.url, "restarted")


def test_who_lost_the_lock_to_another_opens_nothing_more(postgres: Server) -> None:
    with closing(Database(postgres.url, "taken")) as database:
        study = opened(database)
        run(study, 1)
        end_connections(postgres)
        with closing(Database(postgres.url, "taken")) as other:
            with pytest.raises(UserError, match="another launch is running taken"):
                study.suggest()
            assert run(opened(other), 1) == [1]


@pytest.mark.slow
def test_a_trial_that_somebody_else_opened_is_noticed_where_no_lock_is(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    with closing(Database(url, "mine")) as one, closing(Database(url, "mine")) as two:
        first, second = opened(one), opened(two)
        run(first, 1)
        with pytest.raises(UserError, match="another launch opens trials of this sweep; end one of the two"):
            second.suggest()


def test_first_launches_at_once_in_an_empty_database(postgres: Server) -> None:
    postgres.run("create database fresh")
    url = postgres.url.replace("/postgres", "/fresh")
    together, errors = threading.Barrier(4), list[BaseException]()

    def begin(name: str) -> None:
        try:
            together.wait()
            with closing(Database(url, name)) as database:
                assert run(opened(database), 2) == [0, 1]
        except BaseException as error:  # noqa: BLE001  # seen by the test
            errors.append(error)

    threads = [threading.Thread(target=begin, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_password_comes_from_the_environment(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    assert "no password supplied" in refused(postgres.keyed, "keyed")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    postgres.run("create database mine owner keyed")
    with closing(Database(postgres.keyed.replace("/postgres", "/mine"), "keyed")) as database:
        assert run(opened(database), 1) == [0]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me@127.0.0.1:1/x", "cannot be used: connection failed: connection to server at"),
        (
            "oracle9://me@host/x",
            "cannot be used: no such kind of database; write postgresql://, mysql:// or sqlite:///",
        ),
        ("postgresql+psycopg2://me@host/x", "cannot be used: the Python package psycopg2 is missing; install it"),
        ("sqlite:////nowhere/at/all.db", "cannot be used: unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_used_is_a_mistake_of_the_user(url: str, words: str) -> None:
    assert refused(url).startswith(f"storage {url}: {words}")


def test_a_missing_driver_is_named_with_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    words = "storage postgresql://me@host/x: cannot be used: the Python package psycopg is missing; "
    assert refused("postgresql://me@host/x") == words + "pip install 'grokking-sweeper[postgres]'"


@pytest.mark.parametrize("url", ["", "trials.db", "postgresql://me@host:port/x", "://"])
def test_what_is_no_url_is_said_to_be_none(url: str) -> None:
    assert refused(url).startswith("storage: not the URL of a database (")


def test_a_password_is_never_shown(postgres: Server) -> None:
    url = postgres.url.replace("sweeper@", "nobody-we-know:hunter2@")
    assert "hunter2" not in refused(url)
    assert "nobody-we-know" in refused(url)


@pytest.mark.slow
def test_the_name_of_a_file_may_hold_braces(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path}/{{0.__class__}}.db", "mine")) as database:
        run(opened(database), 1)
    assert [each.name for each in tmp_path.iterdir()] == ["{0.__class__}.db"]


def damage_number(server: Server) -> None:
    server.run("update trials set number = 7 where number = 1")


def damage_description(server: Server) -> None:
    server.run("update trial_user_attributes set value_json = '{\"phase\": 3}'")


def damage_json(server: Server) -> None:
    server.run("update trial_user_attributes set value_json = '{'")


def damage_distribution(server: Server) -> None:
    server.run("update trial_params set distribution_json = '[]'")


def damage_value(server: Server) -> None:
    server.run("update trial_values set value = 'NaN'")


def damage_tables(server: Server) -> None:
    server.run("update version_info set schema_version = 1", "update alembic_version set version_num = 'v0.9.0.a'")


@pytest.mark.parametrize(
    "damage",
    [damage_number, damage_description, damage_json, damage_distribution, damage_value, damage_tables],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_database_is_refused_in_words(postgres: Server, damage: Callable[[Server], None]) -> None:
    name = damage.__name__
    postgres.run(f"create database {name}")
    own = Server(postgres.folder, postgres.port, name)
    with closing(Database(own.url, "mine")) as database:
        run(opened(database), 3)
    damage(own)

    def again() -> None:
        with closing(Database(own.url, "mine")) as database:
            opened(database)

    with pytest.raises(UserError) as caught:
        again()
    assert str(caught.value).startswith(f"storage {own.url}: damaged, or written by another version (")


def test_a_server_that_is_gone_ends_the_launch_in_words(postgres: Server) -> None:
    postgres.run("create database going")
    own = Server(postgres.folder, postgres.port, "going")
    with closing(Database(own.url, "mine")) as database:
        study = opened(database)
        proposal = study.suggest()
        assert proposal is not None
        postgres.run("drop database going with (force)")
        for write in (study.suggest, lambda: study.tell(proposal.number, 1.0)):
            with pytest.raises(StorageError) as caught:
                write()
            assert str(caught.value).startswith(f"storage {own.url}: could not be written: ")
            assert str(caught.value).endswith(
                "; everything written before is whole, and the same command continues the sweep"
            )


def test_parameters_that_change_their_kind_go_by_another_name(postgres: Server) -> None:
    """Optuna refuses other choices, or another scale, under the name of a parameter."""
    spaces = [
        Space({"heads": Choice(choice=(1, 2)), "weight_decay": Float(float=(0.01, 0.1))}, {}, (), 200),
        Space({"heads": Choice(choice=(1, 2, 4)), "weight_decay": Float(float=(0.01, 0.5))}, {}, (), 200),
        Space({"heads": Int(int=(1, 2)), "weight_decay": Float(float=(0.01, 0.1), log=True)}, {}, (), 200),
    ]
    for space in (*spaces, *spaces):
        with closing(Database(postgres.url, "changing")) as database:
            run(opened(database, space), 1)
    with psycopg.connect(postgres.url) as connection:
        rows = connection.execute(
            "select number, param_name from trial_params join trials using (trial_id) join studies using (study_id) "
            "where study_name = 'changing' order by number, param_id"
        ).fetchall()
    names = [("heads", "weight_decay"), ("heads (2)", "weight_decay"), ("heads (3)", "weight_decay (2)")]
    assert rows == [(number, name) for number, both in enumerate([*names, *names]) for name in both]
