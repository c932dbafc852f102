"""`dm2 replay`: show a recorded battle as a page, a GIF or an MP4; needs no display.

Given a folder, it lists the replays in it. Called by `launch.cli`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from dm2_dist.envs.skirmish.pictures.course import MAX_FRAMES_PER_SECOND, Course
from dm2_dist.envs.skirmish.replay_file import SUFFIX, ReplayError
from dm2_dist.envs.skirmish.unit_type import LOOPS_PER_SECOND
from launch import arguments

if TYPE_CHECKING:
    from dm2_dist.envs.skirmish.replay import Replay

_FORMATS = (".html", ".gif", ".mp4")
_SPEEDS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class ReplayCommand:
    """Show a recorded battle as a page, a GIF or an MP4, or list the replays in a folder."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="REPLAY")]
    """A replay, or a folder whose replays are listed."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """File to write; its ending decides the format: html, gif or mp4. A page beside the replay
    unless given."""
    speed: float = 1.0
    """1 is the game's speed "Faster", 22.4 loops a second. A page begins with the nearest speed
    that it offers."""
    size: int = 720
    """Width of a film in pixels; a page fits its window."""
    frames_per_second: float | None = None
    """Pictures a second of a film; 20 in a GIF and 30 in an MP4 unless given."""
    theme: Literal["dark", "light", "reader"] = "reader"
    """Colours; `reader` lets a page follow its reader's system, and makes films dark."""


def main(words: Sequence[str]) -> int:
    """Show or list; returns the exit code."""
    command = arguments.parse(ReplayCommand, "dm2 replay", words)
    wrong = _wrong(command)
    if wrong is not None:
        return _fail(wrong, 2)
    if command.path.is_dir():
        return _list(command.path)
    output = command.output or default_output(command.path)
    try:
        course = _load(command.path).simulate().framed()
        told = _make(command, course, output)
    except (ReplayError, ModuleNotFoundError, OSError) as error:
        return _fail(_reason(error, output), 1)
    seconds = course.num_loops / LOOPS_PER_SECOND
    print(f"wrote {output}: {course.stage.map_name}, {seconds:.1f} s of battle, {told}")
    return 0


def _load(path: Path) -> "Replay":
    """Read a replay. Imported late: the simulator's compiler takes longer than the help."""
    from dm2_dist.envs.skirmish.replay import Replay

    return Replay.load(path)


def _reason(error: ReplayError | ModuleNotFoundError | OSError, output: Path) -> str:
    """Say in a sentence why there is no page or film."""
    if isinstance(error, ModuleNotFoundError) and error.name == "PIL":
        return "a film needs Pillow; install dm2-dist with the extra [pictures], or write a .html"
    if isinstance(error, OSError):
        return f"{output} cannot be written: {error.strerror or error}"
    return str(error)


def default_output(path: Path) -> Path:
    """Return the page beside a replay."""
    stem = path.name.removesuffix(SUFFIX)
    return path.with_name((stem if stem != path.name else path.stem) + ".html")


def _wrong(command: ReplayCommand) -> str | None:
    """Say what is wrong with the arguments, if anything."""
    if not 0 < command.speed < float("inf"):
        return f"speed is {command.speed}; it must be positive"
    rate = command.frames_per_second
    form = "" if command.output is None else command.output.suffix.lower()
    most = MAX_FRAMES_PER_SECOND.get(form, 120.0)
    if rate is not None and not 0 < rate <= most:
        return f"frames-per-second is {rate}; it must be between 0 and {most:.0f}"
    if not 160 <= command.size <= 4096:
        return f"size is {command.size}; a film is 160 to 4096 pixels wide"
    if command.output is not None:
        if form not in _FORMATS:
            return f"{command.output} must end in .html, .gif or .mp4"
        if command.path.is_dir():
            return f"{command.path} is a folder; name one replay in it to write {command.output}"
    return None


def _make(command: ReplayCommand, course: Course, output: Path) -> str:
    """Write the page or the film; returns a few words about it."""
    outcome = course.ended or "unfinished"
    if output.suffix.lower() == ".html":
        from dm2_dist.envs.skirmish.pictures import page

        nearest = min(_SPEEDS, key=lambda speed: abs(speed - command.speed))
        theme = None if command.theme == "reader" else command.theme
        output.write_text(page.make(course, speed=nearest, theme=theme), encoding="utf-8")
        return outcome
    from dm2_dist.envs.skirmish.pictures import film

    frames = film.make(
        course,
        output,
        speed=command.speed,
        size=command.size,
        frames_per_second=command.frames_per_second,
        theme="dark" if command.theme == "reader" else command.theme,
    )
    return f"{outcome}, {frames} frames"


def _list(folder: Path) -> int:
    """Print a table of the replays in a folder."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    paths = sorted(folder.rglob(f"*{SUFFIX}"))
    if not paths:
        return _fail(
            f"{folder} holds no replays, whose names end in {SUFFIX}; make some with "
            "`dm2 evaluate RUN --replays DIR`",
            1,
        )
    table = Table("replay", "map", title=escape(str(folder)))
    for column in ("steps", "return"):
        table.add_column(column, justify="right")
    table.add_column("outcome")
    for path in paths:
        name = escape(str(path.relative_to(folder)))
        try:
            document = _load(path).document
        except ReplayError as error:
            reason = str(error).removeprefix(f"{path}: ")
            table.add_row(name, "", "", "", escape(reason))
            continue
        outcome = document.outcome
        score = f"{outcome.episode_return:.2f}"
        ended = outcome.ended or "unfinished"
        table.add_row(name, escape(document.map), str(outcome.steps), score, ended)
    Console().print(table)
    return 0


def _fail(sentence: str, code: int) -> int:
    print(f"dm2: {sentence}", file=sys.stderr)
    return code
