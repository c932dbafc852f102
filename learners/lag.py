"""How many versions behind the learner the policies were that played what it trains on.

An iteration i is trained at version i; a ticket of it that was played with version v has a lag of
i - v. The schedule bounds it. Kept by `learners.intake`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Lag(NamedTuple):
    """Lags of one iteration, in versions; a peer that is ahead has lag 0.

    own: one per ticket, of the agent that learns.
    peers: one per ticket and other agent.
    """

    own: tuple[int, ...]
    peers: tuple[int, ...]

    def metrics(self) -> dict[str, float]:
        """Mean and largest of either, by name; nothing of the peers where there are none."""
        named: Mapping[str, Sequence[int]] = {"lag": self.own, "peer_lag": self.peers}
        return {
            f"{name}_{how}": float(number)
            for name, lags in named.items()
            if lags
            for how, number in (("mean", np.mean(lags)), ("max", max(lags)))
        }


class Lags:
    """The lags of the tickets in hand."""

    def __init__(self, agent: int) -> None:
        self._agent = agent
        self._versions: dict[int, dict[int, tuple[int, ...]]] = {}

    def note(self, iteration: int, index: int, versions: tuple[int, ...]) -> None:
        """A ticket is in hand that was played with `versions`, [K]."""
        self._versions.setdefault(iteration, {})[index] = versions

    def take(self, iteration: int) -> Lag:
        """The lags of an iteration that was trained; it is forgotten."""
        own: list[int] = []
        peers: list[int] = []
        for versions in self._versions.pop(iteration, {}).values():
            for agent, version in enumerate(versions):
                (own if agent == self._agent else peers).append(max(iteration - version, 0))
        return Lag(tuple(own), tuple(peers))

    def clear(self) -> None:
        """Forget everything in hand."""
        self._versions.clear()
