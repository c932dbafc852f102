"""Frozen policies of a run, and what they play: for `dm2 record` and `dm2 evaluate`."""

import contextlib
import hashlib
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy

from actors.actor import play_to_the_end
from dm2_dist import checkpoint, seeding, trajectory
from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.demonstrations import Card
from dm2_dist.envs import make
from dm2_dist.envs.interface import BattleBatch, EnvironmentSpec, GameBatch
from dm2_dist.envs.skirmish.replay import Replay
from dm2_dist.inference import StackedPolicy
from dm2_dist.run_directory import RunDirectory
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice
from launch.kept_replays import RecordedBatch

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FrozenTeam:
    """One policy per seat, read from a run's checkpoints.

    policies: [K] `<version>:<first 16 hexadecimal digits of the SHA-256 of its parameters>`.
    """

    config: RunConfig
    spec: EnvironmentSpec
    version: int
    policies: tuple[str, ...]
    stacked: StackedPolicy


class Played(NamedTuple):
    """What a frozen team has played.

    slices: [K] what each agent saw.
    seeds: one per episode.
    replays: the first battles, as many as were to be kept.
    """

    slices: list[Slice]
    seeds: tuple[int, ...]
    replays: list[Replay]


def load(root: Path, version: int | None) -> FrozenTeam:
    """Read a team from a run directory.

    Args:
        root: the run directory.
        version: parameter version of every seat; None: the newest that all seats have.

    Raises:
        CheckpointError: no version that all seats have, or not the one asked for.
        RunDirectoryError: no run there.
    """
    directory = RunDirectory(root)
    config = directory.read_config()
    spec = make.describe(config.env, config.map)
    folders = [directory.checkpoints(agent) for agent in range(spec.num_agents)]
    common = set.intersection(*(set(checkpoint.parameter_versions(f)) for f in folders))
    if not common:
        raise checkpoint.CheckpointError(f"{root} holds no parameters yet; let the run train first")
    chosen = max(common) if version is None else version
    if chosen not in common:
        kept = ", ".join(map(str, sorted(common)))
        raise checkpoint.CheckpointError(f"{root} keeps the versions {kept}, not {chosen}")
    bodies = [checkpoint.load_parameters(folder, chosen) for folder in folders]
    return FrozenTeam(
        config=config,
        spec=spec,
        version=chosen,
        policies=tuple(f"{chosen}:{hashlib.sha256(body).hexdigest()[:16]}" for body in bodies),
        stacked=StackedPolicy([safetensors.numpy.load(body) for body in bodies]),
    )


def play_episodes(
    team: FrozenTeam, episodes: int, seed: int, *, greedy: bool, kept: int = 0
) -> Played:
    """Play fresh episodes with a frozen team.

    Args:
        team: the policies.
        episodes: how many.
        seed: keys every draw; the training episodes of a run never use these seeds.
        greedy: take the most probable actions.
        kept: how many battles, from the first one on, are kept as replays; of the embedded
            simulator only.

    Raises:
        NoGameError: the run plays a real game, and none can be had.
    """
    config = replace(team.config, seed=seeding.derive("frozen", seed))
    work = tickets.record_tickets(config, episodes, (team.version,) * team.spec.num_agents, greedy)
    played: list[list[Slice]] = []
    replays: list[Replay] = []
    for size, group in itertools.groupby(work, key=lambda ticket: len(ticket.seeds)):
        with contextlib.ExitStack() as stack:
            battles = make.make_batch(config.env, config.map, size, config.games)
            if isinstance(battles, GameBatch):
                stack.callback(battles.close)
            for ticket in group:
                missing = min(kept - len(replays), size)
                if missing > 0:
                    recorded = RecordedBatch(config.map, size, missing)
                    played.append(_play(ticket, team, recorded))
                    replays += recorded.replays()
                else:
                    played.append(_play(ticket, team, battles))
    slices = [trajectory.concatenate([parts[k] for parts in played]) for k in range(len(played[0]))]
    seeds = tuple(itertools.chain.from_iterable(ticket.seeds for ticket in work))
    return Played(slices, seeds, replays)


def _play(ticket: Ticket, team: FrozenTeam, battles: BattleBatch) -> list[Slice]:
    return play_to_the_end(
        ticket,
        team.stacked,
        battles,
        on_step=lambda: None,
        on_lost=lambda lost: _LOG.warning("played again reason=%s", lost),
    )


def card_of(
    team: FrozenTeam, run: str, slices: Sequence[Slice], seeds: Sequence[int], *, greedy: bool
) -> Card:
    """Describe a recorded set."""
    first = slices[0]
    return Card(
        env=team.config.env,
        map=team.spec.map_name,
        num_agents=team.spec.num_agents,
        observation_size=team.spec.observation_size,
        num_actions=team.spec.num_actions,
        episodes=first.num_episodes,
        greedy=greedy,
        run=run,
        policies=team.policies,
        seeds=tuple(str(seed) for seed in seeds),
        returns=tuple(float(value) for value in first.returns()),
        lengths=tuple(int(value) for value in first.length),
        won=tuple(bool(value) for value in first.won),
    )


def scores(slices: Sequence[Slice]) -> dict[str, float | int]:
    """Win rate and mean return and length of what was played."""
    first = slices[0]
    return {
        "win_rate": float(first.won.mean()),
        "return_mean": float(first.returns().mean()),
        "return_std": float(np.std(first.returns())),
        "length_mean": float(first.length.mean()),
        "episodes": first.num_episodes,
    }
