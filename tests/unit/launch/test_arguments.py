"""Command lines from dataclasses: what is shown, what is taken, and one sentence for a mistake."""

import io
import os
import pty
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist.config import ConfigError
from launch import arguments
from launch.arguments import ArgumentsError


@dataclass(frozen=True)
class Oven:
    """Where it is baked."""

    degrees: float = 180.0
    """Heat in degrees: as measured in
    the middle."""

    def __post_init__(self) -> None:
        if self.degrees < 0:
            raise ConfigError(f"degrees is {self.degrees}; it must be zero or more")


@dataclass(frozen=True)
class Bake:
    """Bake a cake."""

    cake: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAKE")]
    """Recipe of
    the cake."""
    oven: Oven = field(default_factory=Oven)
    slices: int | None = None
    """Number of slices; as many as there are guests unless given."""
    icing: Literal["sugar", "chocolate"] | None = None
    """What is on top."""
    candles: bool = True
    """Put candles on it."""
    quick: bool = False
    """Hurry."""


def parse(*words: str, default: Bake | None = None) -> Bake:
    return arguments.parse(Bake, "dm2 bake", words, default)


def test_words_make_a_command() -> None:
    made = parse("plum", "--oven.degrees", "200", "--slices", "8", "--icing", "sugar", "--quick")
    assert made == Bake(Path("plum"), Oven(200.0), 8, "sugar", quick=True)
    assert parse("plum") == Bake(Path("plum"))


def test_what_is_not_said_is_as_in_the_object_to_start_from() -> None:
    start = Bake(Path("plum"), Oven(200.0), slices=8, candles=False, quick=True)
    assert parse(default=start) == start
    assert parse("--slices", "9", "--candles", default=start).candles
    assert parse("--no-candles", "plum") == Bake(Path("plum"), candles=False)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_help_shows_each_note_and_no_default_that_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= columns
    text = " ".join(printed.replace("│", " ").replace("|", " ").split())
    assert "Recipe of the cake. (required)" in text
    assert "Heat in degrees: as measured in the middle. (default: 180.0)" in text
    assert "--slices INT Number of slices; as many as there are guests unless given. --" in text
    assert "--icing {sugar,chocolate} What is on top. --" in text
    assert "--candles, --no-candles Put candles on it. (on unless given)" in text
    assert "--quick Hurry." in text
    assert "--no-quick" not in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "bake needs CAKE; `dm2 bake --help` tells more"),
        ("plum --slices many", "--slices is 'many'; it must be a whole number"),
        ("plum --oven.degrees hot", "--oven.degrees is 'hot'; it must be a number"),
        ("plum --icing mud", "--icing is 'mud'; choose chocolate or sugar"),
        ("plum --slices", "--slices needs a value after it; `dm2 bake --help` tells more"),
        ("plum pear", "bake takes no 'pear'; `dm2 bake --help` lists what it takes"),
        ("plum --slice 3", "unknown option --slice; did you mean --slices? `dm2 bake --help`"),
        ("plum --oven.degrees -1", "degrees is -1.0; it must be zero or more"),
    ],
)
@pytest.mark.parametrize("letters", ["utf-8", "ascii"])
def test_a_mistake_gets_one_sentence(
    words: str,
    said: str,
    letters: str,
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), letters))
    with pytest.raises(ConfigError) as refusal:
        parse(*words.split())
    assert str(refusal.value).startswith(said)
    assert capfd.readouterr() == ("", "")


_WORDS = st.sampled_from(
    ["plum", "--slices", "--icing", "--quick", "--no-candles", "--oven.degrees", "3", "--", "-x"]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(_WORDS.filter(lambda word: not word.startswith(("-h", "--h"))), max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_words_make_a_command_or_one_sentence(words: list[str]) -> None:
    columns = os.environ.get("COLUMNS")
    try:
        made = parse(*words)
    except ConfigError as refusal:
        sentence = str(refusal)
        assert sentence
        assert "\n" not in sentence
        assert not set("│╭╰─") & (set(sentence) - set("".join(words)))
    else:
        assert isinstance(made, Bake)
    assert os.environ.get("COLUMNS") == columns


def test_a_mistake_gets_the_same_sentence_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "launch.cli", "presets", "one", "two"], stdout=theirs, stderr=theirs
    )
    try:
        assert done.wait(60) == 2
    finally:
        done.kill()
        os.close(theirs)
    said = os.read(ours, 65536).decode()
    os.close(ours)
    assert said == "dm2: presets takes no 'two'; `dm2 presets --help` lists what it takes\r\n"


def test_a_mistake_is_an_error_of_its_own() -> None:
    with pytest.raises(ArgumentsError):
        parse()
