"""The books of the whole run: every trajectory is trained, dropped for a reason or lost to a cause.

A trajectory is one agent's slice of one ticket. `ActorBook` counts what was produced, `LearnerBook`
what became of it, and `close` brings both together. Used by `launch` at the end of a run.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dm2_dist.comms.actor_book import TRAINED, Account, ActorBook
from dm2_dist.comms.learner_book import LearnerAccount, LearnerBook, Settlement, Verdict
from dm2_dist.comms.messages import Source

__all__ = [
    "ACTOR_DIED",
    "ENV_RESTART",
    "HOST_LOST",
    "ROLLED_BACK",
    "TRAINED",
    "Account",
    "ActorBook",
    "Counters",
    "LearnerAccount",
    "LearnerBook",
    "Settlement",
    "Totals",
    "Verdict",
    "close",
]

ACTOR_DIED = "actor_died"
"""Cause of a loss: an actor was killed with trajectories that no learner had settled."""
HOST_LOST = "host_lost"
"""Cause of a loss: an actor on another host is gone for ever, and its counter file with it."""
ROLLED_BACK = "rolled_back"
"""Cause of a loss: a learner's checkpoint became unreadable after it had settled trajectories."""
ENV_RESTART = "env_restart"
"""Reason of a drop by the actor: the game went down and cut the episode off. No learner ever hears
of such a trajectory, and its ticket is played again."""


class Counters(NamedTuple):
    """What one incarnation of an actor noted outside its own memory.

    source: the actor.
    produced: [K] whole trajectories produced for each agent.
    settled: [K] trajectories of which the actor heard that they are settled.
    closed: it left on purpose, with nothing unsettled.
    cut_off: trajectories of all agents that a lost game cut off; they are none of `produced`.
    announced: known from heartbeats alone. Unless `closed`, `produced` is then a lower bound.
    """

    source: Source
    produced: tuple[int, ...]
    settled: tuple[int, ...]
    closed: bool
    cut_off: int = 0
    announced: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """The balance of a run; with `error` 0, produced = trained + sum(dropped) + sum(lost).

    produced: whole trajectories, and those that a lost game cut off; the latter are also `dropped`
        as `env_restart`.
    error: trajectories that no rule explains, missing and surplus ones alike; they never cancel.
    """

    produced: int
    trained: int
    dropped: dict[str, int]
    lost: dict[str, int]
    error: int


def close(counters: Iterable[Counters], books: Mapping[int, LearnerBook]) -> Totals:
    """Close the books of a run.

    Only what is settled counts: what a learner has in hand and never committed is not accounted
    for by having been received.

    Args:
        counters: one entry per incarnation of every actor.
        books: agent -> the book of its learner, as of the last checkpoint.
        rolled_back: agents whose learner had to pass over a damaged checkpoint; what it had settled
            since the one before was trained into parameters that no longer exist.
    """
    actors = {entry.source: entry for entry in counters}
    produced = trained = error = 0
    dropped: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for source, agent in _accounts(actors, books):
        book = books.get(agent, LearnerBook())
        done, reasons = book.settled(source)
        trained += done
        dropped.update(reasons)
        actor = actors.get(source)
        settled = done + sum(reasons.values())
        made = _produced(actor, agent, settled)
        produced += made
        residual = made - settled
        cause = _cause(actor, book)
        if residual > 0 and cause:
            lost[cause] += residual
        else:
            error += abs(residual)
    cut_off = sum(actor.cut_off for actor in actors.values())
    if cut_off:
        dropped[ENV_RESTART] += cut_off
    return Totals(
        produced=produced + cut_off,
        trained=trained,
        dropped=dict(dropped),
        lost=dict(lost),
        error=error,
    )


def _accounts(
    actors: Mapping[Source, Counters], books: Mapping[int, LearnerBook]
) -> set[tuple[Source, int]]:
    """Every (source, agent) that either side knows."""
    produced = {
        (source, agent) for source in actors for agent in range(len(actors[source].produced))
    }
    return produced | {(source, agent) for agent in books for source in books[agent].sources()}


def _produced(actor: Counters | None, agent: int, settled: int) -> int:
    """What an actor produced for an agent; at least what was settled, if it could not say more."""
    known = actor.produced[agent] if actor and agent < len(actor.produced) else 0
    open_ended = actor is not None and actor.announced and not actor.closed
    return max(known, settled) if open_ended else known


def _cause(actor: Counters | None, book: LearnerBook) -> str:
    """What may explain trajectories that are missing; nothing may if all went well."""
    if actor is not None and not actor.closed:
        return HOST_LOST if actor.announced else ACTOR_DIED
    return ROLLED_BACK if book.rolled_back else ""
