"""The run at a glance, as the head sees it: plain values for people, metrics and the summary."""

import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dm2_dist import demonstrations
from dm2_dist.config import RunConfig
from launch import status
from launch.status import Peer

if TYPE_CHECKING:
    from launch.head import Head


def directory(peers: Mapping[str, Peer]) -> dict[str, tuple[str, str]]:
    """Agent -> (trajectory address, parameter address) of the learners that are here."""
    return {
        name.removeprefix("learner-"): (peer.hello.trajectory_address, peer.hello.parameter_address)
        for name, peer in peers.items()
        if peer.hello.role == "learner"
    }


def report(head: "Head") -> dict[str, Any]:
    """The run at a glance: for the terminal, `/status` and the summary."""
    steps, now = head.dispatcher.env_steps, time.monotonic()
    speed = head.speed.per_second(now)
    left = max(head.config.max_env_steps - steps, 0)
    evaluations = head.record.evaluations
    newest = evaluations[-1] if evaluations else {}
    return {
        "run_id": head.directory.root.name,
        "run_directory": str(head.directory.root),
        "map": head.spec.map_name,
        "algorithm": head.config.algorithm,
        "schedule": head.config.schedule,
        "preset": head.config.preset,
        "seed": head.config.seed,
        "state": _state(head),
        "phase": head.phase,
        "failure": head.failure,
        "wall_seconds": head.record.wall_seconds,
        "env_steps": steps,
        "max_env_steps": head.config.max_env_steps,
        "env_steps_per_second": speed,
        "seconds_left": left / speed if speed > 0 else None,
        "iterations": max(head.dispatcher.version, 0),
        "lag": head.config.max_lag,
        "win_rate": newest.get("win_rate"),
        "win_rate_best": max((line["win_rate"] for line in evaluations), default=None),
        "return_mean": newest.get("return_mean"),
        "demonstrators": demonstrators(head.config),
        "evaluations": evaluations,
        "actors": status.actors(head.peers, head.record),
        "learners": status.learners(head.peers, head.spec.num_agents),
        "ledger": status.ledger(head.peers, head.directory, head.losses, head.spec.num_agents),
        "tickets": head.dispatcher.ticket_counts(),
        "restarts": {"actor": 0, "learner": 0, "head": 0} | head.record.restarts,
        "silent": status.silent(head.peers, now),
        "events": list(head.events),
    }


def demonstrators(config: RunConfig) -> float | None:
    """Win rate of the team that the run imitates; None if it imitates nobody."""
    return _level_of(config.demonstrations) if config.uses_demonstrations else None


@functools.lru_cache(maxsize=64)
def _level_of(folder: str) -> float | None:
    try:
        return demonstrations.read_card(Path(folder)).win_rate
    except demonstrations.DemonstrationsError:
        return None  # moved or deleted since; the learners have what they need


def _state(head: "Head") -> str:
    if head.failure:
        return "failed"
    if head.phase != "run":
        return "draining" if head.interrupted else "finished"
    if head.record.degraded:
        return "degraded"
    return "training" if head.dispatcher.version >= 0 else "starting"
