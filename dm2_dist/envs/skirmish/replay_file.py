"""The file format of replays: JSON with a fixed set of keys, checked when it is read.

A file may come from anybody, so that reading one takes little memory and time whatever it holds,
and what is wrong is told in one printable line. Read and written by `replay`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from dm2_dist.envs.skirmish.document import shown
from dm2_dist.envs.skirmish.options import Options, RewardFlags
from dm2_dist.envs.skirmish.pictures import scene

FORMAT = "dm2-dist replay"
FORMAT_VERSION = 1
SUFFIX = ".replay.json"
"""How names of replay files end."""

_MAX_BYTES = 16 * 2**20
"""A battle of 10,000 steps with 64 units on both sides takes a third of this."""

_MAX_TOLD = 500
"""Most characters of what a message says about a file."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Actions = tuple[tuple[Count, ...], ...]
Scalars = dict[str, bool | int | float | str]


class ReplayError(ValueError):
    """A file is no replay, or the simulator does not play it as recorded."""


class _Head(msgspec.Struct, frozen=True):
    """What is looked at first in a file; its other keys are skipped.

    Attributes:
        format: what the file is.
        format_version: version of its layout.
    """

    format: str = ""
    format_version: int = 0


class Simulator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which simulator played.

    Attributes:
        version: version of the package.
        sources: digest of the compiled sources, hexadecimal.
    """

    version: Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z.+!_-]{1,64}\Z")]
    sources: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{14}\Z")]

    def __str__(self) -> str:
        return f"{self.version} (sources {self.sources})"


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came out.

    Attributes:
        steps: environment steps played.
        episode_return: sum of the rewards before rounding, added in order.
        ended: how the battle ended; empty if the recording stopped before.
    """

    steps: Count
    episode_return: float
    ended: scene.Outcome

    def __str__(self) -> str:
        return (
            f"{self.ended or 'unfinished'} after {self.steps} steps, return {self.episode_return}"
        )


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replay as it stands in its file.

    Attributes:
        format: what the file is.
        format_version: version of this layout.
        simulator: which simulator played.
        map: name of the map.
        scenario: the battle's description if the map is not one of SMAC's, else None.
        options: options other than features and rewards, by name.
        rewards: reward flags by name.
        opponents: who played the enemies.
        seed: seed of the battle, 64 bits, as decimal digits.
        actions: [T][K] actions of the team.
        opponent_actions: [T][M] actions of the enemies where a policy played them, else None.
        outcome: what came out.
    """

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    simulator: Simulator
    map: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    scenario: dict[str, Any] | None = None
    options: Scalars
    rewards: Scalars
    opponents: Literal["computer", "policy"]
    seed: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,20}\Z")]
    actions: Actions
    opponent_actions: Actions | None = None
    outcome: Outcome


def scalars(options: Options) -> tuple[Scalars, Scalars]:
    """Sort what changes a battle or its return: options and reward flags by name."""
    chosen = dataclasses.asdict(options)
    chosen.pop("features")
    rewards = chosen.pop("rewards")
    return chosen, rewards


def options_of(document: Document) -> Options:
    """Return the options that a replay was played with; features are SMAC's defaults.

    Raises:
        ReplayError: an option that this simulator does not have, or a value it cannot have.
    """
    given, rewards = document.options, document.rewards
    known = {entry.name for entry in dataclasses.fields(Options)} - {"features", "rewards"}
    flags = {entry.name for entry in dataclasses.fields(RewardFlags)}
    unknown = sorted(set(given) - known) + sorted(set(rewards) - flags)
    if unknown:
        raise ReplayError(
            f"the option {unknown[0]!r} is not known here; play it with the simulator that "
            f"recorded it, version {document.simulator.version}"
        )
    try:
        return msgspec.convert({**given, "rewards": rewards}, Options)
    except ValueError as error:
        raise ReplayError(f"the options cannot be used: {error}") from None


def printable(error: Exception) -> str:
    """Return what an error says as one line of printable characters, cut off where it is long.

    Errors quote files, and a file may hold line feeds, what moves a terminal's cursor, or a word of
    a million letters.
    """
    text = str(error)
    if len(text) > _MAX_TOLD:
        text = f"{text[: _MAX_TOLD - 3]}..."
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def read(path: Path) -> Document:
    """Read a file.

    Raises:
        ReplayError: it cannot be read, or is no replay; the message names the file.
    """
    content = _content(path)
    try:
        _check_head(path, msgspec.json.decode(content, type=_Head))
        return msgspec.json.decode(content, type=Document)
    except ReplayError:
        raise
    except msgspec.ValidationError as error:
        raise ReplayError(f"{path} is not a valid replay: {printable(error)}") from None
    except RecursionError:
        raise ReplayError(f"{path} is not a replay: its values are nested too deeply") from None
    except ValueError:
        raise ReplayError(f"{path} is not JSON; a replay ends in {SUFFIX}") from None


def _content(path: Path) -> bytes:
    """Return the bytes of a file that is no larger than a replay can be."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ReplayError(f"{path} cannot be read: it is not a file")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ReplayError(f"{path} does not exist") from None
    except OSError as error:
        raise ReplayError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise ReplayError(f"{path} is too large for a replay ({_MAX_BYTES >> 20} MiB at most)")
    return content


def _check_head(path: Path, head: _Head) -> None:
    if head.format != FORMAT:
        raise ReplayError(f"{path} is not a replay: its key 'format' is not {FORMAT!r}")
    if head.format_version != FORMAT_VERSION:
        raise ReplayError(
            f"{path} has format version {shown(head.format_version)}; this simulator reads "
            f"version {FORMAT_VERSION}"
        )


def write(document: Document, path: Path) -> None:
    """Write a file, whole or not at all.

    Raises:
        ReplayError: a number in it is not finite, which JSON cannot say.
        OSError: it cannot be written.
    """
    try:
        body = json.dumps(msgspec.to_builtins(document), separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise ReplayError(
            f"{path} cannot be written: an option or the return is not a finite number"
        ) from None
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(body + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
