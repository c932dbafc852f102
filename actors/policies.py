"""Which parameters a ticket is played with, and the wait for them.

A repeatable ticket names its versions; a ticket of the schedule `async` only says how old they may
be, and is played with the newest that are here. Owned by `actors.session`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from actors.conversation import Conversation
from actors.parameter_cache import ParameterCache, Parameters
from dm2_dist.ticket import Ticket

_GET_SECONDS = 0.5


class Policies:
    """The parameters of every seat, by version; what is missing is asked for."""

    def __init__(self, cache: ParameterCache, learners: Mapping[int, Conversation]) -> None:
        """Take from `cache`; ask `learners`, the conversations by agent."""
        self._cache, self._learners = cache, learners
        self._asked_at = float("-inf")
        self._versions: tuple[int, ...] = ()
        self._newest: list[Parameters] = []

    def wait(
        self, ticket: Ticket, pump: Callable[[float], None]
    ) -> tuple[Ticket, list[Parameters]] | None:
        """The ticket with the versions that it is played with, and their parameters, one per seat.

        The list is the same object as the time before where no version is another.

        Args:
            ticket: what will be played.
            pump: hears and says what there is, for at most so many seconds; may raise.

        Returns:
            None if a learner has no such version (any more).
        """
        self._asked_at = float("-inf")
        for conversation in self._learners.values():
            conversation.unavailable = False
        pump(0.0)
        while not any(learner.unavailable for learner in self._learners.values()):
            versions = ticket.versions
            if ticket.newest:
                versions = self._cache.newest(versions)
                self._ask(self._cache.outdated(versions))
            missing = self._cache.missing(versions)
            if missing:
                self._ask({agent: versions[agent] for agent in missing})
                pump(0.05)
            elif (parameters := self._take(versions)) is not None:
                return replace(ticket, versions=versions), parameters
        return None

    def _ask(self, wanted: Mapping[int, int]) -> None:
        """Ask for versions by agent, not more often than twice a second."""
        now = time.monotonic()
        if not wanted or now - self._asked_at < _GET_SECONDS:
            return
        self._asked_at = now
        for agent, version in wanted.items():
            if agent in self._learners:
                self._learners[agent].ask(version)

    def _take(self, versions: tuple[int, ...]) -> list[Parameters] | None:
        if versions != self._versions or not self._newest:
            parameters = self._cache.take(versions)
            if parameters is None:
                return None
            self._versions, self._newest = versions, parameters
        return self._newest
