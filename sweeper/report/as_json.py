"""Records as JSON, for scripts."""

import json
import math
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any


def as_json(data: Any) -> str:
    """Serialise records and rows. NaN and infinity become null, times become ISO 8601."""
    return json.dumps(plain(data), indent=1, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Convert to types that JSON has."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            return value.isoformat()
        case dict():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple() | set():
            return [plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    return str(value)
