"""Malformed and hostile files: words and an exit code, never a traceback, a hang or a write elsewhere.

`python -m tests.test_hostile SEED 1000` runs a thousand.
"""

import io
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType

import pytest

from sweeper.cli import main as cli
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from tests.fakes import small

SPACES = sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"))
LONGEST_SECONDS = 20

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
)
WHOLE_FILES = [
    *(
        "",
        "\x00",
        "[]",
        "null",
        "- a\n- b",
        "&a [*a]",
        "&a {b: *a}",
        "? [a]\n: b",
        "%YAML 9.9\n---\na: 1",
        "---\n---\n",
        BOMB,
    ),
    *(
        "[" * 20_000,
        "{a: " * 5_000,
        "a: " + "x" * 200_000,
        "x: 1\n" * 20_000,
        "- " * 5_000,
        "'",
        "\ufeffname: x",
        "\t a: 1",
    ),
    "!!python/object/apply:os.system ['touch escaped']",
    "name: !!python/object/new:os.system ['touch escaped']",
    "!!python/module:escaped",
    "<<: {<<: {<<: [1]}}",
    "task: !!binary " + "A" * 100_000,
]
VALUES = [
    *(
        "../../escaped",
        "/etc/passwd",
        "a/../../b",
        "..",
        "~",
        "$HOME",
        "`touch escaped`",
        "$(touch escaped)",
        "{{7*7}}",
        "%s%n",
    ),
    *(
        "__import__('os').system('touch escaped')",
        "().__class__.__bases__",
        "9**9**9**9",
        "depth.__class__ == 1",
        "1 if 1 else 2",
    ),
    *(
        "heads == " + "(" * 3000,
        "not " * 5000 + "depth == 1",
        "a" * 100_000,
        "heads == 'x' or " * 2000 + "depth == 1",
        "\x1b[2J",
        "\u202e",
    ),
    *(
        "1e999",
        "-1e999",
        "99999999999999999999999999",
        "-1",
        "0",
        ".nan",
        ".inf",
        "1e-3",
        "[]",
        "{}",
        "[[[[]]]]",
        "null",
        "true",
        "2020-01-01",
    ),
    *(
        "postgresql://user:secret@127.0.0.1:1/x",
        "file:///etc/passwd",
        "s3://",
        "s3://a:b@c/../d",
        "gs://\x00",
        "ray://x",
        "sqlite:///escaped.db",
    ),
    *(
        "!!python/name:os.system",
        "!!python/object/apply:os.system [touch escaped]",
        "*nobody",
        "&a [*a, *a]",
        "!x y",
        "'",
        '"',
        "|",
        ">",
        "@",
        "%",
    ),
]


def malformed_space(chance: random.Random) -> bytes:
    """A space.yaml with something wrong in it."""
    if chance.random() < 0.15:
        return chance.choice(WHOLE_FILES).encode()
    lines = chance.choice(SPACES).read_text().splitlines()
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(lines))
        key, colon, _ = lines[at].partition(":")
        match chance.randrange(7):
            case 0:
                lines[at] = f"{key}{colon} {chance.choice(VALUES)}"
            case 1:
                lines[at : at + 1] = []
            case 2:
                lines.insert(at, lines[chance.randrange(len(lines))])
            case 3:
                lines[at] = " " * chance.randint(0, 9) + lines[at].strip()
            case 4:
                lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
            case 5:
                lines[at] = lines[at].replace(chance.choice("0123456789abcdefgh[]{}:,"), chance.choice(VALUES), 1)
            case 6:
                key = chance.choice(["x", "  x", "search", "results", "name"])
                lines.insert(at, f"{key}: {chance.choice(VALUES)}")
        lines = lines or [""]
    content = "\n".join(lines).encode()
    if chance.random() < 0.1:
        at = chance.randrange(len(content) + 1)
        content = content[:at] + chance.randbytes(chance.randint(1, 9)) + content[at:]
    return content


def flipped(path: Path, chance: random.Random, elsewhere: Path) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 20) if content else 0):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)


def cut(path: Path, chance: random.Random, elsewhere: Path) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size + 1))


def longer(path: Path, chance: random.Random, elsewhere: Path) -> None:
    with open(path, "ab") as file:
        file.write(chance.randbytes(chance.randint(1, 5000)))


def other_text(path: Path, chance: random.Random, elsewhere: Path) -> None:
    path.write_text(chance.choice([*WHOLE_FILES[:10], '{"op_code": 4}\n', '[{"a": 1}]', "{}", '"x"', "[1, 2]", "1"]))


def other_file(path: Path, chance: random.Random, elsewhere: Path) -> None:
    others = [each for each in path.parents[0].parent.rglob("*") if each.is_file() and each != path]
    shutil.copyfile(chance.choice(others), path) if others else path.write_bytes(b"")


def missing(path: Path, chance: random.Random, elsewhere: Path) -> None:
    path.unlink()


def folder(path: Path, chance: random.Random, elsewhere: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path, chance: random.Random, elsewhere: Path) -> None:
    path.unlink()
    path.symlink_to(elsewhere / "secret.txt")


def linked_folder(path: Path, chance: random.Random, elsewhere: Path) -> None:
    name = chance.choice(["trials", "runs", "curves", "checkpoints", "pending"])
    place = (
        next(each for each in (path.parent, *path.parents) if (each / "space.yaml").exists() or each.parent == each)
        / name
    )
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(elsewhere)


def pipe(path: Path, chance: random.Random, elsewhere: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def mailbox(path: Path, chance: random.Random, elsewhere: Path) -> None:
    path.unlink()
    before = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is a short path
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(path.name)
    os.chdir(before)


DAMAGES: list[Callable[[Path, random.Random, Path], None]] = [
    *(flipped, flipped, flipped, cut, cut, longer, other_text, other_text, other_file),
    *(missing, folder, link, linked_folder, pipe, mailbox),
]


class HangError(BaseException):
    """A command took too long; nothing may catch it by accident."""


@contextmanager
def bounded() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(*arguments: str) -> tuple[int, str]:
    """A command in this process: its exit code and all that it said."""
    said = io.StringIO()
    with bounded(), redirect_stdout(said), redirect_stderr(said):
        code = cli.run(list(arguments))
    return code, said.getvalue()


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()
    }


def a_space(root: Path, chance: random.Random) -> None:
    """`sweeper check` of a malformed space."""
    space = root / "space.yaml"
    space.write_bytes(malformed_space(chance))
    before = contents(root)
    code, said = run("check", str(space))
    assert code in (0, 2), said
    assert "Traceback" not in said
    assert code == 0 or "space.yaml" in said, said
    assert contents(root) == before


def a_result(root: Path, chance: random.Random, sound: Path) -> None:
    """Every command on a sweep of which one or two files are damaged."""
    results, elsewhere = root / "results", root / "elsewhere"
    shutil.copytree(sound, results)
    elsewhere.mkdir()
    (elsewhere / "secret.txt").write_text("a secret")
    sweep = results / "small"
    for _ in range(chance.choice([1, 1, 2])):
        files = [path for path in sorted(sweep.rglob("*")) if path.is_file() and not path.is_symlink()]
        chance.choice(DAMAGES)(chance.choice(files), chance, elsewhere)
    before = contents(elsewhere)
    space = root / "space.yaml"
    space.write_text(small.SPACE + f"results: {results}\n")
    commands = [
        ("list", str(results)),
        ("top", str(sweep)),
        ("show", f"{sweep}:published"),
        ("compare", f"{sweep}:1", "published"),
        ("export", str(sweep), str(root / "curves.json"), "--table", "curves"),
        ("query", str(sweep), "select * from trials join runs using (trial) join curves using (trial, replicate)"),
        ("replay", str(sweep)),
        ("status", str(sweep)),
        ("watch", str(sweep)),
        ("launch", str(space), "--here"),
        ("resume", str(sweep), "--here"),
    ]
    for command in commands:
        code, said = run(*command)
        assert code in (0, 1, 2), (command, said)
        assert "Traceback" not in said, said
        assert "a secret" not in said, said
        assert contents(elsewhere) == before, command
        for path in (sweep / "launch.lock",):
            assert not path.is_fifo() or code == 2


def make_sound(root: Path) -> Path:
    """A finished sweep, with a checkpoint beside it as of a trial that is still in training."""
    launch(small.write(root), ["budget.trials=5"], LaunchOptions(where="here"))
    (root / "results" / "small" / "checkpoints").mkdir(exist_ok=True)
    return root / "results"


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sound(tmp_path_factory.mktemp("sound"))


@pytest.mark.filterwarnings("ignore")
def test_malformed_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(tmp_path, monkeypatch.chdir, 30, "space", a_space)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_damaged_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: Path) -> None:
    many(tmp_path, monkeypatch.chdir, 7, "result", lambda root, chance: a_result(root, chance, sound))


def many(
    root: Path, change_to: Callable[[Path], None], count: int, seed: str, case: Callable[[Path, random.Random], None]
) -> None:
    """So many cases, each in a folder of its own, in a working directory that must stay as it is."""
    here = root / "here"
    here.mkdir()
    (here / "mine.txt").write_text("mine")
    change_to(here)
    for number in range(count):
        place = root / str(number)
        place.mkdir()
        try:
            case(place, random.Random(f"{seed} {number}"))
        except BaseException as error:
            error.add_note(f"case {seed!r} {number}, in {place}")
            raise
        assert contents(here) == {str(here / "mine.txt"): b"mine"}, (seed, number)
        shutil.rmtree(place)


def main() -> None:
    """As many cases as are asked for."""
    seed, count = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "sound").mkdir()
        sound = make_sound(root / "sound")
        for kind, share, case in (
            ("spaces", 0.6, a_space),
            ("results", 0.4, lambda place, chance: a_result(place, chance, sound)),
        ):
            (root / kind).mkdir()
            many(root / kind, os.chdir, round(count * share), f"{kind} {seed}", case)
    print(json.dumps({"seed": seed, "cases": count, "tracebacks": 0, "hangs": 0, "writes elsewhere": 0}))


if __name__ == "__main__":
    main()
