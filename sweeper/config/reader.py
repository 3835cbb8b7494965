"""Read a YAML file as plain data with line numbers; the only module that imports yaml.

Only plain values are built, as `yaml.safe_load` does; never objects. Tabs, repeated keys, keys that YAML reads as true
or false, and files that are not text are reported with their line.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sweeper.errors import Problem, SpecError, UserError

KeyPath = tuple[str | int, ...]
_LARGEST_FILE = 200_000
_MOST_VALUES = 50_000
_DEEPEST = 30
_TOO_MUCH = f"more than {_MOST_VALUES:,} values or {_DEEPEST} levels; a space.yaml is smaller than that"
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp")}


@dataclass
class Document:
    """A YAML file.

    Attributes:
        file: its name, for messages.
        data: plain data.
        lines: key path -> line, from 1, of each key and list item.
        problems: mistakes found while reading.
        values: number of values read so far; an alias counts every time it is used.
        text: the text of the file; empty once a value has been replaced.
        replaced: key path -> the `--set` option that replaced its value.
    """

    file: str
    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    values: int = 0
    replaced: dict[KeyPath, str] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int:
        """The line of a key path, or of its nearest ancestor in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """Describe a mistake at a key path."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.replaced:
                return Problem(0, key_text(path), message, self.replaced[path[:length]])
        if path not in self.lines:
            for replaced, setting in self.replaced.items():
                if replaced[: len(path)] == path:
                    return Problem(0, key_text(path), message, setting)
        return Problem(self.line(path), key_text(path), message, self.file)


def key_text(path: KeyPath) -> str:
    """`search.depth.int[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read(path: Path) -> Document:
    """Read a space.yaml.

    Raises:
        UserError: the file cannot be opened.
        SpecError: it is not YAML, or not a mapping at the top.
    """
    name = str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"{name}: cannot be read ({reason}); `sweeper init` writes a space.yaml to start from"
        ) from None
    return parse(content, name)


def parse(content: bytes, name: str) -> Document:
    """Parse the content of a space.yaml. Raises SpecError."""

    def mistake(message: str, line: int = 1) -> SpecError:
        return SpecError([Problem(line, "", message, name)])

    if len(content) > _LARGEST_FILE:
        raise mistake(f"got {len(content):,} bytes; a space.yaml has at most {_LARGEST_FILE:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise mistake(f"not a text file (byte {error.start} is not UTF-8); give a YAML file", 1) from None
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        hint = "; indent with spaces, not tabs" if "\\t" in str(error.problem) else ""
        raise mistake(f"not YAML: {error.problem or error.context}{hint}{_unclosed(error)}", line) from None
    except RecursionError:
        raise mistake(_TOO_MUCH) from None
    except yaml.YAMLError as error:
        raise mistake(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    if not nodes or nodes[0] is None:
        raise mistake("the file is empty; `sweeper init` writes a space.yaml to start from")
    if len(nodes) > 1:
        raise mistake(
            "got several YAML documents; a space.yaml is one, without `---` between", nodes[1].start_mark.line + 1
        )
    if not isinstance(nodes[0], yaml.MappingNode):
        raise mistake("got a list or a single value; a space.yaml is a mapping with keys such as name, task and search")
    document = Document(name, text)
    document.data = _build(nodes[0], (), document)
    return document


def text_of(document: Document) -> str:
    """The document as YAML: the text of the file, or, if a value was replaced, its data as new YAML."""
    if document.text:
        return document.text
    return yaml.safe_dump(document.data, sort_keys=False, default_flow_style=None, width=110)


def dump(values: dict[str, Any]) -> str:
    """A mapping as YAML on one line, `{depth: 2, batch.max: 64}`."""
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=True, width=10**6).strip()


def parse_value(text: str, where: str) -> Any:
    """Parse a value from the command line as YAML. Raises UserError."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}") from None
    document = Document(where)
    value = None if node is None else _build(node, (), document)
    if document.problems:
        raise SpecError(document.problems)
    return value


class _Scalars(yaml.constructor.SafeConstructor):
    """Turns scalar nodes into plain values."""


def _build(node: yaml.Node, path: KeyPath, document: Document) -> Any:
    document.values += 1
    if document.values > _MOST_VALUES or len(path) > _DEEPEST:
        raise SpecError([*document.problems, Problem(node.start_mark.line + 1, "", _TOO_MUCH, document.file)])
    if node.tag not in _PLAIN:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        _add_problem(node, path, document, f"got the tag {tag}; a space.yaml has plain values only")
        return None
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        for i, child in enumerate(node.value):
            document.lines[(*path, i)] = child.start_mark.line + 1
        return [_build(child, (*path, i), document) for i, child in enumerate(node.value)]
    return _scalar(node, path, document)


def _build_mapping(node: yaml.MappingNode, path: KeyPath, document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if key_node.tag.endswith(":merge"):
            _add_problem(key_node, path, document, "got the key <<; merging is not supported; write the keys out")
            continue
        line = key_node.start_mark.line + 1
        known = len(document.problems)
        key = _scalar(key_node, path, document) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            if len(document.problems) == known:
                written = key_node.value if isinstance(key_node, yaml.ScalarNode) else "that is a list or mapping"
                reads = f"; YAML reads it as {str(key).lower()}, so quote it" if isinstance(key, bool) else ""
                _add_problem(key_node, path, document, f"got the key {written}; keys are words{reads}")
            continue
        if key in found:
            first = document.lines[(*path, key)]
            message = f"given twice, first on line {first}; keep one"
            document.problems.append(Problem(line, key_text((*path, key)), message, document.file))
            continue
        document.lines[(*path, key)] = line
        found[key] = _build(value_node, (*path, key), document)
    return found


def _scalar(node: yaml.Node, path: KeyPath, document: Document) -> Hashable:
    """The plain value of a scalar; None, with a problem added, if it has none or YAML surely misreads it."""
    try:
        value: Hashable = _Scalars().construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        _add_problem(node, path, document, f"got {node.value!r}; {getattr(error, 'problem', None) or error}")
        return None
    misread = ""
    if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
        misread = f"got {value!a}; text must not contain zero bytes or lone surrogates"
    elif node.tag.endswith(":int") and ":" in node.value:
        misread = f"got {node.value}; YAML reads it as {value} (base 60): write the number out"
    elif node.tag.endswith(":int") and re.fullmatch("[-+]?0[0-7_]+", node.value):
        misread = f"got {node.value}; YAML reads it as {value} (octal): write it without leading zeros"
    if misread:
        _add_problem(node, path, document, misread)
        return None
    return value


def _add_problem(node: yaml.Node, path: KeyPath, document: Document, message: str) -> None:
    document.problems.append(Problem(node.start_mark.line + 1, key_text(path), message, document.file))


def _unclosed(error: yaml.MarkedYAMLError) -> str:
    """The line of a bracket that is never closed."""
    if error.context_mark is None or "flow" not in str(error.context):
        return ""
    kind = "list" if "sequence" in str(error.context) else "mapping"
    return f"; the {kind} begins on line {error.context_mark.line + 1}"
