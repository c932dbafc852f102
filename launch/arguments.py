"""The words after a command, parsed into its dataclass; a mistake gets one sentence.

The only place that asks tyro. A field's help is the note under it in the source; what a flag is
unless given is shown where there is something to show. Used by every command.
"""

import ast
import contextlib
import dataclasses
import inspect
import io
import os
import re
import textwrap
import typing
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar

import tyro
from tyro.constructors import (
    MISSING,
    MISSING_NONPROP,
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from dm2_dist.config import ConfigError

Command = TypeVar("Command")

_WIDE = "4000"
"""Columns in which no message of the parser is broken into lines."""
_METAVARS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}
_NOTHING = ("None", "''", "False", "")
"""Defaults that say no more than the note does."""


class ArgumentsError(ConfigError):
    """Words that make no command; the message names the word and the mend."""


class _RefusedError(Exception):
    """Carries an error of the values past the parser, which would put a ValueError into a box."""

    def __init__(self, reason: ConfigError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def parse(
    kind: type[Command], prog: str, words: Sequence[str], default: Command | None = None
) -> Command:
    """The command that the words make; `--help` prints and ends the process.

    Args:
        kind: dataclass of the command.
        prog: how the command is called, for instance `dm2 local`.
        words: what follows.
        default: what the flags start from, instead of the defaults of the fields.

    Raises:
        ArgumentsError: wrong words.
        ConfigError: words that are right each for itself, but not together.
    """
    registry = ConstructorRegistry()
    registry.struct_rule(_described)
    chosen: dict[str, Any] = {} if default is None else {"default": default}
    said = io.StringIO()
    helps = {"-h", "--help"} & set(words)
    try:
        with contextlib.redirect_stderr(said), contextlib.nullcontext() if helps else _unbroken():
            made: Command = tyro.cli(kind, prog=prog, args=words, registry=registry, **chosen)
    except _RefusedError as refused:
        raise refused.reason from None
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ArgumentsError(" ".join(_sentence(prog, said.getvalue()).split())) from None
    return made


# --- what a flag looks like ---


def _described(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The fields of a dataclass with their notes."""
    if not dataclasses.is_dataclass(info.type):
        return None
    hints = typing.get_type_hints(info.type, include_extras=True)
    fields = tuple(
        StructFieldSpec(
            name=each.name,
            type=_flag(hints[each.name], switched_on=each.default is True),
            default=_start(each, info.default),
            helptext=partial(_note, info.type, each.name),
        )
        for each in dataclasses.fields(info.type)
    )
    return StructConstructorSpec(instantiate=_maker(info.type), fields=fields)


def _maker(kind: type) -> Callable[..., Any]:
    """What makes the object; what that says of its values passes by the parser unchanged."""

    def make(**values: Any) -> Any:
        try:
            return kind(**values)
        except ConfigError as error:
            raise _RefusedError(error) from None

    make.__doc__ = kind.__doc__  # shown as what the command does
    return make


def _flag(hint: Any, *, switched_on: bool) -> Any:
    """A field's type with how it is shown; what the field itself says of that comes last."""
    inner, *extras = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    show = partial(_default_shown, switch=inner is bool)
    shown: list[object] = [tyro.conf.arg(metavar=_metavar(inner), help_behavior_hint=show)]
    if inner is bool and not switched_on:
        shown.append(tyro.conf.FlagCreatePairsOff)  # there is nothing to negate
    return Annotated[(inner, *shown, *extras)]


def _metavar(hint: Any) -> str | None:
    """What stands for the value of a flag that may be absent; None leaves it to the parser."""
    if typing.get_origin(hint) not in (UnionType, typing.Union):
        return None
    (inner,) = (each for each in typing.get_args(hint) if each is not NoneType)
    if typing.get_origin(inner) is Literal:
        return "{" + ",".join(typing.get_args(inner)) + "}"
    return _METAVARS[inner]


def _default_shown(label: str, *, switch: bool) -> str:
    if label in _NOTHING:
        return ""
    return "(on unless given)" if switch else f"(default: {label})"


def _start(field: "dataclasses.Field[Any]", parent: Any) -> Any:
    """What a flag is unless given: of the object to start from, else of the field."""
    if parent is MISSING:
        return MISSING
    if parent is not MISSING_NONPROP and parent is not None:
        return getattr(parent, field.name)
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return MISSING_NONPROP


def _note(kind: type, name: str) -> str | None:
    """The note under a field of a dataclass, on one line; None if there is none."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef), "a dataclass is a class"
    for field, note in pairwise(definition.body):
        match field, note:
            case (
                ast.AnnAssign(target=ast.Name(id=found)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ) if found == name:
                return " ".join(text.split())
    return None


# --- what is said of a mistake ---


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    """Let the parser believe in a terminal so wide that it breaks no line."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDE
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def _sentence(prog: str, box: str) -> str:
    """One sentence of what the parser says in a box.

    Args:
        prog: how the command is called.
        box: the parser's message, with colours or without.
    """
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    if "│" in plain:
        lines = [line[2:-1].rstrip() for line in plain.splitlines() if line.startswith("│")]
    else:  # for a terminal without such characters: a title, a rule, and then the text
        lines = [line[2:].rstrip() for line in plain.splitlines()[2:]]
    rules = [index for index, line in enumerate(lines) if re.fullmatch(r" *[─-]{3,}", line)]
    text = "\n".join(lines[: rules[0] if rules else None])
    more = f"`{prog} --help` tells more"
    if found := re.match(r"Error parsing (\S+): ", text):
        return _wrong_value(found[1], text) or f"{' '.join(text.split())}; {more}"
    if found := re.match(r"invalid choice ('.*') for argument '(.*)'\. .* one of \((.*)\)", text):
        return _wrong_choice(prog, found[2], found[1], re.findall(r"'([^']*)'", found[3]))
    if found := re.match(r"Missing value for argument '(.*)'", text):
        return f"{found[1]} needs a value after it; {more}"
    if found := re.match(r"Unrecognized options: (.*)", text):
        return _unknown(prog, found[1], "\n".join(lines))
    if text.startswith("Missing from"):
        names = re.findall(r"^ {4}(?! )(?:.*, )?(.+)$", text, re.MULTILINE)
        return f"{_short(prog)} needs {_listed(names, 'and')}; {more}"
    return f"{' '.join(text.split())}; {more}"


def _wrong_value(flag: str, text: str) -> str:
    """For a number that is none; empty for anything else."""
    for pattern, wanted in (
        (r"invalid literal for int\(\) with base 10: (.*)", "whole number"),
        (r"could not convert string to float: (.*)", "number"),
    ):
        if found := re.search(pattern, text):
            return f"{flag} is {found[1]}; it must be a {wanted}"
    return ""


def _wrong_choice(prog: str, flag: str, value: str, choices: Sequence[str]) -> str:
    """For a word that is none of a few; a flag that may be absent has them in no order."""
    if "None" in choices:
        choices = sorted({*choices} - {"None"})
    wrong = f"{flag} is" if flag.startswith("-") else f"{_short(prog)} takes no"
    return f"{wrong} {value}; choose {_listed(choices, 'or')}"


def _unknown(prog: str, words: str, text: str) -> str:
    """For a word that is no flag of the command, with the flag that may have been meant."""
    first = words.partition(", ")[0]
    if not first.startswith("-"):
        return f"{_short(prog)} takes no {first!r}; `{prog} --help` lists what it takes"
    near = re.search(r"^ {4}(?! )(--[^ ,]+)", text, re.MULTILINE)
    guess = f"did you mean {near[1]}? " if near else ""
    return f"unknown option {first}; {guess}`{prog} --help` lists them"


def _short(prog: str) -> str:
    """The command without the program, which every sentence begins with."""
    return prog.removeprefix("dm2 ")


def _listed(names: Sequence[str], last: str) -> str:
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
