"""Lets every terminal and log file take every text: characters that its encoding does not have are replaced."""

import codecs
from typing import Any

_HANDLER = "sweeper.replace"
_PLAIN = {"±": "+-", "≤": "<=", "≥": ">=", "×": "x", "∞": "inf", "…": "...", "∘": "o", "²": "2", "Σ": "sum"}
_PLAIN |= dict.fromkeys("─━", "-") | dict.fromkeys("│┃├└", "|") | dict(zip("▁▂▃▄▅▆▇█", "_.-:=+*#", strict=True))


def replace_unencodable(stream: Any) -> None:
    """Have a text stream write `<=` for what it cannot encode of `≤`, and `?` for what has no plain spelling.

    A stream that is no file of Python's own, as in a notebook, stays as it is.
    """
    codecs.register_error(_HANDLER, _replaced)
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors=_HANDLER)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_PLAIN.get(each, "?") for each in error.object[error.start : error.end]), error.end
