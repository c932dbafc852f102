"""The file format of replays: JSON with a fixed set of keys, checked when it is read.

Read and written by `replay`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from dm2_dist.envs.skirmish.options import Options, RewardFlags
from dm2_dist.envs.skirmish.pictures import scene

FORMAT = "dm2-dist replay"
FORMAT_VERSION = 1
SUFFIX = ".replay.json"
"""How names of replay files end."""

_MAX_BYTES = 64 * 2**20

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Actions = tuple[tuple[Count, ...], ...]
Scalars = dict[str, bool | int | float | str]


class ReplayError(ValueError):
    """A file is no replay, or the simulator does not play it as recorded."""


class Simulator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which simulator played.

    Attributes:
        version: version of the package.
        sources: digest of the compiled sources, hexadecimal.
    """

    version: Annotated[str, msgspec.Meta(max_length=64)]
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


def read(path: Path) -> Document:
    """Read a file.

    Raises:
        ReplayError: it cannot be read, or is no replay; the message names the file.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ReplayError(f"{path} is too large for a replay ({_MAX_BYTES >> 20} MiB at most)")
        content = json.loads(path.read_bytes())
    except ReplayError:
        raise
    except FileNotFoundError:
        raise ReplayError(f"{path} does not exist") from None
    except OSError as error:
        raise ReplayError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ReplayError(f"{path} is not JSON; a replay ends in {SUFFIX}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ReplayError(f"{path} is not a replay: its key 'format' is not {FORMAT!r}")
    if content.get("format_version") != FORMAT_VERSION:
        raise ReplayError(
            f"{path} has format version {content.get('format_version')!r}; this simulator reads "
            f"version {FORMAT_VERSION}"
        )
    try:
        return msgspec.convert(content, Document)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ReplayError(f"{path} is not a valid replay: {error}") from None


def write(document: Document, path: Path) -> None:
    """Write a file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    body = json.dumps(msgspec.to_builtins(document), separators=(",", ":"), allow_nan=False)
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
