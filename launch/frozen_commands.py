"""`dm2 evaluate` and `dm2 record`: a run's frozen policies play, and what they played is kept.

What plays is `launch.frozen_team`; battles become replays in `launch.kept_replays`. Called by
`launch.cli`.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from dm2_dist import demonstrations
from dm2_dist.config import ConfigError
from dm2_dist.envs.interface import NoGameError
from launch import arguments

if TYPE_CHECKING:
    from launch.frozen_team import FrozenTeam, Played


@dataclass(frozen=True)
class ReplayOptions:
    """Which battles are kept as replays."""

    replays: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """New folder for the first battles, to be shown by `dm2 replay`; none unless given."""
    replays_kept: int = 10
    """Battles to keep there; read only with --replays."""


@dataclass(frozen=True)
class Record:
    """Play a run's policies and keep the episodes as demonstrations."""

    run_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run whose policies play."""
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """New folder for the demonstrations."""
    episodes: int = 1000
    """Episodes to record."""
    version: int | None = None
    """Parameter version; the newest unless given."""
    greedy: bool = False
    """Take the most probable actions. Without it they are sampled, as the paper's demonstrators
    do."""
    seed: int = 0
    """Seed of the battles and of every draw in them."""
    kept: Annotated[ReplayOptions, tyro.conf.arg(name="")] = field(default_factory=ReplayOptions)


@dataclass(frozen=True)
class Evaluate:
    """Play a run's policies greedily and print how good they are."""

    run_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run whose policies play."""
    episodes: int = 128
    """Episodes to play."""
    version: int | None = None
    """Parameter version; the newest unless given."""
    sampled: bool = False
    """Sample actions as in training instead of taking the most probable."""
    seed: int = 0
    """Seed of the battles and of every draw in them."""
    json: bool = False
    """One JSON object instead of a sentence."""
    kept: Annotated[ReplayOptions, tyro.conf.arg(name="")] = field(default_factory=ReplayOptions)


def record(words: Sequence[str]) -> int:
    """Record demonstrations; returns the exit code."""
    command = arguments.parse(Record, "dm2 record", words)
    _check(command)
    demonstrations.check_free(command.output)
    from launch import frozen_team
    from launch.kept_replays import ReplaysError

    try:
        team, played = _play(command, greedy=command.greedy)
    except (ReplaysError, NoGameError) as error:
        return _fail(error)
    slices, seeds, _ = played
    run = str(command.run_dir)
    card = frozen_team.card_of(team, run, slices, seeds, greedy=command.greedy)
    demonstrations.write(command.output, card, slices)
    print(
        f"recorded {card.episodes} episodes of {card.map} with version {team.version}: "
        f"win rate {card.win_rate:.2f}, in {command.output}"
    )
    return 0


def evaluate(words: Sequence[str]) -> int:
    """Play, and print the scores; returns the exit code."""
    command = arguments.parse(Evaluate, "dm2 evaluate", words)
    _check(command)
    from launch import frozen_team
    from launch.kept_replays import ReplaysError

    greedy = not command.sampled
    try:
        team, played = _play(command, greedy=greedy)
    except (ReplaysError, NoGameError) as error:
        return _fail(error)
    scores = frozen_team.scores(played.slices)
    name = team.spec.map_name
    if command.json:
        print(json.dumps({**scores, "version": team.version, "map": name}))
    else:
        print(
            f"{name}, version {team.version}, {command.episodes} "
            f"{'greedy' if greedy else 'sampled'} episodes: win rate {scores['win_rate']:.3f}, "
            f"return {scores['return_mean']:.2f} +- {scores['return_std']:.2f}, "
            f"length {scores['length_mean']:.1f}"
        )
    return 0


def _check(command: Record | Evaluate) -> None:
    if command.episodes < 1:
        raise ConfigError(f"episodes is {command.episodes}; it must be at least 1")
    if command.kept.replays_kept < 1:
        raise ConfigError(f"replays-kept is {command.kept.replays_kept}; it must be at least 1")


def _play(command: Record | Evaluate, *, greedy: bool) -> tuple["FrozenTeam", "Played"]:
    """Load the team, let it play, and keep the first battles if they are wanted.

    Raises:
        ReplaysError: the folder for the replays cannot be used; mostly told before anything is
            played.
    """
    from launch import frozen_team, kept_replays

    folder = command.kept.replays
    if folder is not None:
        kept_replays.check_free(folder)
    team = frozen_team.load(command.run_dir, command.version)
    if folder is not None and team.config.env != "skirmish":
        raise kept_replays.ReplaysError(
            f"--replays keeps battles of the embedded simulator, but {command.run_dir} plays "
            f"{team.config.env}; leave it out"
        )
    kept = 0 if folder is None else command.kept.replays_kept
    played = frozen_team.play_episodes(
        team, command.episodes, command.seed, greedy=greedy, kept=kept
    )
    if folder is not None:
        kept_replays.write(folder, played.replays)
    return team, played


def _fail(error: Exception) -> int:
    print(f"dm2: {error}", file=sys.stderr)
    return 1
