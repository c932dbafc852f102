"""The view of a run as JSON lines, for programs: one object per line, its `kind` says which.

The fields are described in docs/watching.md. Used by `monitoring.progress`.
"""

import json
import math
from collections.abc import Mapping
from typing import Any


def status(report: Mapping[str, Any], bottleneck: str) -> str:
    """A report of the head, and the sentence about who waits for whom."""
    return _line("status", {**report, "bottleneck": bottleneck})


def event(text: str, wall_seconds: float) -> str:
    """Something that happened outside of the head's reports."""
    return _line("event", {"wall_seconds": wall_seconds, "text": text})


def summary(document: Mapping[str, Any], run_directory: str) -> str:
    """The last line of a run: what is in `summary.json`, and where."""
    return _line("summary", {"run_directory": run_directory, **document})


def _line(kind: str, fields: Mapping[str, Any]) -> str:
    return json.dumps(_finite({"kind": kind, **fields}), allow_nan=False)


def _finite(value: Any) -> Any:
    """JSON has no word for what is not a number, or infinite: null."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(name): _finite(part) for name, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
    return value
