"""Reads a user's TOML or JSON file value by value; whatever is wrong is told in one sentence.

Every reader takes a value and the key by which the user knows it. Read by `scenario`.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

Table = dict[str, Any]

_KINDS = {
    dict: "a table",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}


class ScenarioError(ValueError):
    """A file does not describe a battle."""


def read(path: Path) -> object:
    """Parse a file; its suffix says whether as TOML or as JSON.

    Raises:
        ScenarioError: the file cannot be read or parsed; the message does not name the file.
    """
    language = {".toml": "TOML", ".json": "JSON"}.get(path.suffix)
    if language is None:
        raise ScenarioError("the name must end in .toml or .json; rename the file")
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ScenarioError("the file is not text in UTF-8; save it as such") from None
    except FileNotFoundError:
        raise ScenarioError("there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ScenarioError(f"the file cannot be read ({reason}); check the path") from None
    try:
        if language == "TOML":
            return tomllib.loads(content)
        return json.loads(content, object_pairs_hook=_without_repeats)
    except ScenarioError:
        raise
    except ValueError as error:
        raise ScenarioError(f"the file is not valid {language}: {error}; mend it there") from None
    except RecursionError:
        raise ScenarioError(
            "the values are nested too deeply; no key needs more than a list of lists"
        ) from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> Table:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ScenarioError(f"the key {shown(repeated)} is given twice; keep one of them")
    return made


def table(given: object, key: str, keys: Iterable[str]) -> Table:
    """Return a table that has no other keys than `keys`; `ScenarioError` if it is not one."""
    if not isinstance(given, dict):
        _refuse(given, key, "a table")
    for name in given:
        if name not in keys:
            known = choice(name, keys, "keys")
            raise ScenarioError(f"{key} has the unknown key {shown(name)}; {known}")
    return given


def value(given: Table, name: str, parent: str = "") -> object:
    """Return what a table holds under `name`; `ScenarioError` if there is nothing."""
    if name not in given:
        raise ScenarioError(f"{parent}{'.' * bool(parent)}{name} is missing; add it")
    return given[name]


def text(given: object, key: str) -> str:
    """Return a string; `ScenarioError` if it is not one."""
    if not isinstance(given, str):
        _refuse(given, key, "a string")
    return given


def items(given: object, key: str) -> list[Any]:
    """Return a list; `ScenarioError` if it is not one."""
    if not isinstance(given, list):
        _refuse(given, key, "a list")
    return given


def count(given: object, key: str, most: int) -> int:
    """Return a whole number from 1 to `most`; `ScenarioError` if it is not one."""
    if isinstance(given, bool) or not isinstance(given, int):
        _refuse(given, key, "a whole number")
    if not 1 <= given <= most:
        raise ScenarioError(f"{key} is {shown(given)}; it must be 1 to {most}")
    return given


def coordinate(given: object, key: str, size: int) -> float:
    """Return a number from 0 to below `size`; `ScenarioError` if it is not one."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        _refuse(given, key, "a number")
    if not 0 <= given < size:
        raise ScenarioError(f"{key} is {shown(given)}; it must be at least 0 and below {size}")
    return float(given)


def choice(name: str, known: Iterable[str], plural: str) -> str:
    """Name the known names nearest to a wrong one, and all of them."""
    listed = list(known)
    nearest = difflib.get_close_matches(name, listed, n=2, cutoff=0.5)
    guess = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    return f"{guess}Known {plural}: {', '.join(listed)}"


def shown(given: object) -> str:
    """Show a value in a message, a long one only by its beginning."""
    if isinstance(given, int) and abs(given) >= 10**12:
        return "a number of more than twelve digits"
    written = repr(given)
    return written if len(written) <= 40 else f"{written[:37]}..."


def _refuse(given: object, key: str, wanted: str) -> NoReturn:
    found = _KINDS.get(type(given), f"a {type(given).__name__}")
    raise ScenarioError(f"{key} is {found}; it must be {wanted}")
