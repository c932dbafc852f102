"""A won and a lost battle of a run's newest policies, for its report.

Fed by `launch.frozen_team`; shown by `monitoring.report`. Whatever prevents it is a sentence.
"""

import time
from pathlib import Path

from dm2_dist.checkpoint import CheckpointError
from dm2_dist.config import ConfigError
from dm2_dist.envs.skirmish import UnknownMapError
from dm2_dist.envs.skirmish.document import ScenarioError
from dm2_dist.envs.skirmish.pictures import page
from dm2_dist.envs.skirmish.replay import Replay, ReplayError
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from launch import frozen_team
from launch.frozen_team import FrozenTeam
from monitoring.report_document import Battle

_SECONDS = 4.0
"""After which no further battles are begun."""
_EPISODES = 16
"""Played at a time."""
_ROUNDS = 6

_TROUBLE = (
    CheckpointError,
    ConfigError,
    RunDirectoryError,
    ScenarioError,
    UnknownMapError,
    ReplayError,
    OSError,
    ValueError,
    KeyError,
)
"""What files that are missing, damaged or of another version lead to."""


def play(root: Path) -> tuple[list[Battle], str]:
    """Play until a battle was won and one was lost, greedily first, then sampled.

    Args:
        root: the run directory.

    Returns:
        At most one of either kind, and a sentence: what they are, or why there are none.
    """
    try:
        config = RunDirectory(root).read_config()
        if config.env != "skirmish":
            return [], "Only battles of the embedded simulator can be shown here."
        team = frozen_team.load(root, None)
        return _found(team)
    except _TROUBLE as error:
        return [], f"There is no battle to show: {error}."


def _found(team: FrozenTeam) -> tuple[list[Battle], str]:
    begun, kept, played = time.monotonic(), dict[bool, tuple[Replay, str]](), 0
    for turn in range(_ROUNDS):
        greedy = turn < _ROUNDS // 2
        found = frozen_team.play_episodes(team, _EPISODES, turn, greedy=greedy, kept=_EPISODES)
        played += len(found.replays)
        for replay in found.replays:
            kept.setdefault(replay.won, (replay, "greedy" if greedy else "sampled"))
        if len(kept) == 2 or time.monotonic() - begun > _SECONDS:
            break
    battles = [_battle(*kept[won]) for won in (True, False) if won in kept]
    note = f"Played for this page by version {team.version} of every agent."
    if len(kept) == 1:
        missing = "lost" if True in kept else "won"
        note += f" None of {played} battles was {missing}."
    return battles, note


def _battle(replay: Replay, how: str) -> Battle:
    outcome = replay.document.outcome
    title = (
        f"{outcome.ended or 'unfinished'}, {how} actions, {outcome.steps} steps, "
        f"return {outcome.episode_return:.2f}"
    )
    return Battle(title[0].upper() + title[1:], page.make(replay.simulate().framed()))
