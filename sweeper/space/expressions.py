"""The language of `when` and `require`: comparisons and arithmetic over hyperparameters, and nothing else.

`batch.min <= batch.max`, `width % heads == 0`, `batch.shape in [linear, cyclic]`, `depth == 1 or heads > 2`. A name
that is not a hyperparameter is a word: `batch.shape != constant`. `true` and `false` are YAML's, and a hyperparameter
with these values is a condition by itself. Python's own parser turns the text into a tree, and every node is checked
against the list below; nothing is executed.
"""

import ast
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.errors import nearest

_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
}
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, among: reduce(np.logical_or, [value == each for each in among]),
    ast.NotIn: lambda value, among: reduce(np.logical_and, [value != each for each in among]),
}
_LONGEST = 500
_LARGEST = 10**15


@dataclass(frozen=True)
class Expression:
    """A parsed condition.

    Attributes:
        text: as the user wrote it.
        names: the hyperparameters it mentions.
        words: the other names in it: literal text without quotes.
    """

    text: str
    names: frozenset[str]
    words: frozenset[str]
    _tree: ast.expr
    _aliases: Mapping[str, str]

    def compares_text_with_number(self, texts: Collection[str]) -> bool:
        """Whether any comparison has text on one side and a number on the other.

        Args:
            texts: the hyperparameters whose values are words.
        """
        comparisons = [node for node in ast.walk(self._tree) if isinstance(node, ast.Compare)]
        return any(len({self._is_text(side, texts) for side in _sides(node)}) > 1 for node in comparisons)

    def _is_text(self, node: ast.expr, texts: Collection[str]) -> bool:
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str)
        if isinstance(node, ast.Name | ast.Attribute):
            name = _dotted(node)
            return name in texts or name in self.words
        return False

    @property
    def alone(self) -> frozenset[str]:
        """Names used as a condition by themselves; their values must be true or false."""
        return frozenset(map(_dotted, _alone(self._tree)))

    def holds(self, values: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """Evaluate the condition, elementwise if values are arrays (they broadcast).

        Raises:
            TypeError: values of these types cannot be compared.
            KeyError: a name has no value.
        """
        with np.errstate(all="ignore"):
            return np.asarray(self._value(self._tree, values), dtype=np.bool_)

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant(value=str() as word):
                return self._aliases.get(word, word)
            case ast.Constant():
                return node.value
            case ast.Name() | ast.Attribute():
                name = _dotted(node)
                return values[name] if name in self.names else self._aliases.get(name, name)
            case ast.List() | ast.Tuple():
                return [self._value(each, values) for each in node.elts]
            case ast.BinOp():
                return _ARITHMETIC[type(node.op)](self._value(node.left, values), self._value(node.right, values))
            case ast.UnaryOp(op=ast.Not()):
                return np.logical_not(self._value(node.operand, values))
            case ast.UnaryOp():
                return -self._value(node.operand, values)
            case ast.BoolOp():
                joined = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
                return reduce(joined, [self._value(each, values) for each in node.values])
            case ast.Compare():
                terms = [self._value(each, values) for each in (node.left, *node.comparators)]
                pairs = zip(node.ops, terms[:-1], terms[1:], strict=True)
                results = [np.asarray(_COMPARISONS[type(op)](left, right)) for op, left, right in pairs]
                return reduce(np.logical_and, results)
        raise TypeError(f"cannot evaluate {ast.dump(node)}")


def parse(text: str, known: Collection[str], aliases: Mapping[str, str] | None = None) -> Expression:
    """Parse a condition.

    Args:
        text: as the user wrote it.
        known: the hyperparameters.
        aliases: alternative spelling -> canonical word.

    Raises:
        ValueError: the text is not in the language; the message is for the user.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"got {len(text)} characters; a condition has at most {_LONGEST}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"got {text!r}, which is not a condition ({getattr(error, 'msg', error)})") from None
    names: set[str] = set()
    if isinstance(tree, ast.List | ast.Tuple):
        raise ValueError(no_comparison(text))  # noqa: TRY004  # a mistake in a text
    tree = _Truth(known).visit(tree)
    _check(tree, names, text)
    mentioned = frozenset(names & set(known))
    if not mentioned:
        for name in sorted(names):
            if hint := nearest(name, list(known)):
                raise ValueError(f"unknown name {name!r} in {text!r}{hint}")
        raise ValueError(f"got {text!r}, which mentions no hyperparameter")
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.Name | ast.Attribute) and not _is_negation(tree):
        raise ValueError(no_comparison(text))
    words = frozenset(names - mentioned)
    _check_arithmetic(tree, words, text)
    return Expression(text, mentioned, words, tree, aliases or {})


def no_comparison(text: str) -> str:
    """The message about a text that is not a condition."""
    return f"got {text!r}, which is not a comparison; write one such as 'batch.min <= batch.max'"


class _Truth(ast.NodeTransformer):
    """Replaces `true` and `false` by their values, unless hyperparameters have these names."""

    def __init__(self, known: Collection[str]):
        self._known = known

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(node.id == "true") if node.id in {"true", "false"} - set(self._known) else node


def _alone(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Name() | ast.Attribute():
            yield node
        case ast.BoolOp():
            for each in node.values:
                yield from _alone(each)
        case ast.UnaryOp(op=ast.Not()):
            yield from _alone(node.operand)


def _sides(node: ast.Compare) -> list[ast.expr]:
    """All operands of a comparison; a list after `in` contributes its members."""
    sides = [node.left, *node.comparators]
    return [each for side in sides for each in (side.elts if isinstance(side, ast.List | ast.Tuple) else [side])]


def _check_arithmetic(tree: ast.expr, words: Collection[str], text: str) -> None:
    for node in ast.walk(tree):
        operands = [node.left, node.right] if isinstance(node, ast.BinOp) else []
        operands += [node.operand] if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else []
        for operand in operands:
            word = isinstance(operand, ast.Name | ast.Attribute) and _dotted(operand) in words
            if word or (isinstance(operand, ast.Constant) and isinstance(operand.value, str)):
                quoted = ast.get_source_segment(text.strip(), node)
                raise ValueError(
                    f"got {text!r}; there is no arithmetic with words; a word with signs in it needs quotes: {quoted!r}"
                )


def _is_negation(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise ValueError("names are words joined by dots")


def _check(node: ast.expr, names: set[str], text: str) -> None:
    """Collect the names below a node. Raises ValueError for a node that is not in the language."""
    match node:
        case ast.Name() | ast.Attribute():
            names.add(_dotted(node))
            return
        case ast.Constant(value=bool() | int() | float() | str()):
            if isinstance(node.value, int | float) and abs(node.value) > _LARGEST:
                raise ValueError(f"got {text!r}; numbers are at most {_LARGEST:.0e}")
            return
        case ast.List() | ast.Tuple():
            for child in node.elts:
                _check(child, names, text)
            raise ValueError(f"got {text!r}; a list is only allowed after `in`")
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            children = [node.left, node.right]
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            children = [node.operand]
        case ast.BoolOp():
            children = node.values
        case ast.Compare() if all(type(op) in _COMPARISONS for op in node.ops):
            _check_membership(node, text)
            pairs = zip(node.ops, node.comparators, strict=True)
            listed = [right.elts if isinstance(op, ast.In | ast.NotIn) else [right] for op, right in pairs]  # type: ignore[attr-defined]  # a list, checked above
            children = [node.left, *(each for right in listed for each in right)]
        case _:
            kind = type(node).__name__
            raise ValueError(
                f"got {text!r}; {kind} is not allowed, only comparisons, + - * / // %, and, or, not, in [..]"
            )
    for child in children:
        _check(child, names, text)


def _check_membership(node: ast.Compare, text: str) -> None:
    for op, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn) and not (isinstance(right, ast.List | ast.Tuple) and right.elts):
            raise ValueError(f"got {text!r}; `in` takes a list, as in 'batch.shape in [linear, cyclic]'")
