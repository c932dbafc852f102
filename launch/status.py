"""Who takes part in a run and how it goes, as plain values that people and metrics are shown.

Fed by `launch.head`; shown by `monitoring.progress`.
"""

import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dm2_dist.comms import messages
from dm2_dist.comms.ledger import ENV_RESTART
from dm2_dist.run_directory import RunDirectory
from launch import host
from launch.loss import Losses
from launch.record import RunRecord, actor_counters
from monitoring import wording

SILENT_SECONDS = 3.0
"""Everybody says something once a second; who has not for so long is named."""
_SPEED_WINDOW_SECONDS = 15.0
_NAMED = 8
_CAUSE_LENGTH = 160


@dataclass(slots=True)
class Peer:
    """A role that said HELLO.

    identity: its ROUTER identity; beat: its newest heartbeat.
    """

    identity: bytes
    hello: messages.Hello
    last_heard: float
    playing: bool = False
    beat: messages.LearnerBeat | messages.ActorBeat | None = None


class Speed:
    """Env steps per second over the last quarter of a minute."""

    def __init__(self) -> None:
        self._notes: deque[tuple[float, int]] = deque(maxlen=1000)

    def note(self, now: float, env_steps: int) -> None:
        """So many env steps were trained at `now`, monotonic seconds."""
        self._notes.append((now, env_steps))

    def per_second(self, now: float) -> float:
        """The recent speed; 0 before there are two notes."""
        while self._notes and now - self._notes[0][0] > _SPEED_WINDOW_SECONDS:
            self._notes.popleft()
        if not self._notes:
            return 0.0
        since, env_steps = self._notes[0]
        return (self._notes[-1][1] - env_steps) / max(now - since, 1.0)


def actors(peers: Mapping[str, Peer], record: RunRecord) -> dict[str, Any]:
    """The actors, counted by what they do."""
    present = [peer for peer in list(peers.values()) if peer.hello.role == "actor"]
    playing = sum(peer.playing for peer in present)
    return {
        "alive": len(present),
        "playing": playing,
        "waiting": len(present) - playing,
        "restarts": record.restarts.get("actor", 0),
        "phases": record.phases("actor"),
    }


def learners(peers: Mapping[str, Peer], num_agents: int) -> list[dict[str, Any]]:
    """One row per learner, here or not."""
    rows = []
    for agent in range(num_agents):
        peer = peers.get(f"learner-{agent}")
        beat = peer.beat if peer is not None else None
        known = beat if isinstance(beat, messages.LearnerBeat) else None
        rows.append(
            {
                "agent": agent,
                "alive": peer is not None,
                "version": known.version if known else 0,
                "metrics": known.metrics if known else {},
                "phases": known.phases if known else {},
            }
        )
    return rows


def silent(peers: Mapping[str, Peer], now: float) -> dict[str, float]:
    """Who has said nothing for a while: name -> seconds, the longest first, at most eight.

    now: monotonic seconds.
    """
    waits = {name: now - peer.last_heard for name, peer in list(peers.items())}
    longest = sorted(waits.items(), key=lambda item: -item[1])[:_NAMED]
    return {name: round(seconds, 1) for name, seconds in longest if seconds > SILENT_SECONDS}


def death(name: str, exit_code: int, logs: Path) -> str:
    """One sentence about the end of a child: who, of what, and where the rest is written.

    Args:
        name: of the process, for instance `actor-3`.
        exit_code: as `multiprocessing` gives it: negative for a signal, never 0.
        logs: the run's folder of log files.
    """
    log = logs / f"{name}.log"
    if exit_code < 0:
        return f"{name} was killed by {_signal_name(-exit_code)}; its log is {log}"
    cause = wording.clean(host.last_error(log))
    if len(cause) > _CAUSE_LENGTH:
        cause = f"{cause[: _CAUSE_LENGTH - 1]}…"
    return f"{name} failed: {cause}; see {log}"


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def ledger(
    peers: Mapping[str, Peer], directory: RunDirectory, losses: Losses, num_agents: int
) -> dict[str, Any]:
    """The live books.

    A learner that is down, or has not spoken yet, stands in them with its newest commit.
    Trajectories are counted before they are sent, so a surplus is an error at any time: here, that
    is. Those of actors on other hosts are announced afterwards. Of what is in flight, `in_doubt`
    was made by actors that ended since: it is still trained on if a learner has it, else lost.
    """
    trained = 0
    dropped: dict[str, int] = {}
    for agent in range(num_agents):
        peer = peers.get(f"learner-{agent}")
        beat = peer.beat if peer is not None else None
        books = beat if isinstance(beat, messages.LearnerBeat) else losses.committed(agent)
        trained += books.trained
        for reason, count in books.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    counters = list(actor_counters(directory))
    cut_off = sum(entry.cut_off for entry in counters)
    if cut_off:
        dropped[ENV_RESTART] = dropped.get(ENV_RESTART, 0) + cut_off
    accounted = trained + sum(dropped.values())
    produced = sum(sum(entry.produced) for entry in counters) + cut_off
    # An actor on another host announces what it produced once a second: until it has left, the
    # learners may have heard of more.
    if any(entry.announced and not entry.closed for entry in counters):
        produced = max(produced, accounted)
    lost = dict(losses.known)
    in_flight = max(produced - accounted - sum(lost.values()), 0)
    return {
        "produced": produced,
        "trained": trained,
        "dropped": dropped,
        "lost": lost,
        "in_flight": in_flight,
        "in_doubt": min(losses.in_doubt, in_flight),
        "error": max(accounted - produced, 0),
    }
