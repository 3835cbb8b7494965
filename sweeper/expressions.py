"""The small language of `when` and `require`: comparisons and arithmetic over hyperparameters, and nothing else.

`batch.min <= batch.max`, `width % heads == 0`, `batch.shape in [linear, cyclic]`, `depth == 1 or heads > 2`. A name
that is not a hyperparameter is a word: `batch.shape != constant`. Text is parsed by Python's own parser into a tree
whose every node is checked against the list below; nothing is ever executed.
"""

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
    ast.In: lambda value, among: np.logical_or.reduce([value == each for each in among]),
    ast.NotIn: lambda value, among: np.logical_and.reduce([value != each for each in among]),
}
_LONGEST = 500


@dataclass(frozen=True)
class Expression:
    """A parsed condition.

    Attributes:
        text: as the user wrote it.
        names: the hyperparameters it mentions.
        words: the other names in it, which stand for themselves.
    """

    text: str
    names: frozenset[str]
    words: frozenset[str]
    _tree: ast.expr

    def holds(self, values: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """Whether the condition holds, element by element where values are arrays (they broadcast).

        Raises TypeError where the types cannot be compared, and KeyError for a name without a value.
        """
        with np.errstate(all="ignore"):
            return np.asarray(self._value(self._tree, values), dtype=np.bool_)

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name() | ast.Attribute():
                name = _dotted(node)
                return values[name] if name in self.names else name
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
                return joined.reduce(np.broadcast_arrays(*(self._value(each, values) for each in node.values)))
            case ast.Compare():
                terms = [self._value(each, values) for each in (node.left, *node.comparators)]
                pairs = zip(node.ops, terms[:-1], terms[1:], strict=True)
                results = [np.asarray(_COMPARISONS[type(op)](left, right)) for op, left, right in pairs]
                return np.logical_and.reduce(np.broadcast_arrays(*results))
        raise TypeError(f"cannot evaluate {ast.dump(node)}")


def parse(text: str, known: Collection[str]) -> Expression:
    """Read a condition over the `known` hyperparameters. Raises ValueError that says what is not allowed."""
    if len(text) > _LONGEST:
        raise ValueError(f"got {len(text)} characters; a condition has at most {_LONGEST}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"got {text!r}, which is not a condition ({getattr(error, 'msg', error)})") from None
    names: set[str] = set()
    _check(tree, names, text)
    mentioned = frozenset(names & set(known))
    if not mentioned:
        raise ValueError(f"got {text!r}, which mentions no hyperparameter")
    if not isinstance(tree, ast.Compare | ast.BoolOp) and not _is_not(tree):
        raise ValueError(f"got {text!r}, which is not a comparison; write one such as 'batch.min <= batch.max'")
    return Expression(text, mentioned, frozenset(names - mentioned), tree)


def _is_not(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise ValueError("names are words joined by dots")


def _check(node: ast.expr, names: set[str], text: str) -> None:
    """Collect the names below a node; refuse whatever is not in the language."""
    match node:
        case ast.Name() | ast.Attribute():
            names.add(_dotted(node))
            return
        case ast.Constant(value=bool() | int() | float() | str()):
            return
        case ast.List() | ast.Tuple():
            children = node.elts
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            children = [node.left, node.right]
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            children = [node.operand]
        case ast.BoolOp():
            children = node.values
        case ast.Compare() if all(type(op) in _COMPARISONS for op in node.ops):
            _check_membership(node, text)
            children = [node.left, *node.comparators]
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
