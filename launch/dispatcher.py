"""Which ticket goes to which actor: the head's pure state machine. No sockets, files or clocks.

It holds nothing that cannot be rebuilt: which tickets exist follows from the configuration and the
learners' versions, which of them are done from what the learners say they received. Told about the
world by `launch.head` (`learner_report`, `want`, `gone`, `evaluate_result`), asked for
`assignments`.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.ticket import Ticket

Actor = tuple[str, int]
"""Name and incarnation."""


@dataclass(frozen=True, slots=True)
class LearnerReport:
    """What one learner says it has.

    version: iterations trained and committed.
    env_steps: training env steps up to each retained version.
    received: open iteration -> ticket indices that arrived.
    received_env_steps: open iteration -> env steps of those tickets.
    """

    version: int
    env_steps: dict[int, int]
    received: dict[int, frozenset[int]]
    received_env_steps: dict[int, int]


class LeaseAccount(NamedTuple):
    """Leases of one head: leased = fulfilled + reissued + open."""

    leased: int
    fulfilled: int
    reissued: int
    open: int

    @property
    def imbalance(self) -> int:
        """Difference of the two sides; anything but 0 is a bug."""
        return self.leased - self.fulfilled - self.reissued - self.open


@dataclass(frozen=True, slots=True)
class _Lease:
    actor: Actor
    deadline: float


@dataclass(slots=True)
class Dispatcher:
    """Leases of tickets.

    num_agents: K, learners that must receive every training ticket.
    lease_seconds: after this long a ticket goes to another actor; the later result is a duplicate.
    evaluated: versions whose evaluation is on record.
    leased, fulfilled, reissued: see `LeaseAccount`.
    """

    config: RunConfig
    num_agents: int
    lease_seconds: float
    evaluated: set[int] = field(default_factory=set)
    _reports: dict[int, LearnerReport] = field(default_factory=dict)
    _leases: dict[str, _Lease] = field(default_factory=dict)
    _hungry: OrderedDict[Actor, None] = field(default_factory=OrderedDict)
    _played: dict[int, set[int]] = field(default_factory=dict)
    _env_steps: dict[int, int] = field(default_factory=dict)
    _arrived: dict[int, Collection[int]] = field(default_factory=dict)
    leased: int = 0
    fulfilled: int = 0
    reissued: int = 0

    def learner_report(self, agent: int, report: LearnerReport) -> None:
        """Take in what learner `agent` has; a restarted learner may have less than before."""
        self._reports[agent] = report
        self._arrived = {}
        # What no learner retains, no open ticket needs: this stays as small as their reports. In
        # `async` a ticket that was played twice may differ from learner to learner.
        self._env_steps = {}
        for known in self._reports.values():
            for version, steps in known.env_steps.items():
                self._env_steps[version] = max(steps, self._env_steps.get(version, 0))
        self._drop_fulfilled()

    def want(self, actor: Actor) -> None:
        """An actor asks for a ticket."""
        self._hungry[actor] = None

    def give_back(self, actor: Actor, ticket_id: str) -> None:
        """What an actor made of a ticket was refused: its lease ends."""
        lease = self._leases.get(ticket_id)
        if lease is not None and lease.actor == actor:
            del self._leases[ticket_id]
            self.reissued += 1

    def holds(self, actor: Actor, ticket_ids: Collection[str], now: float) -> None:
        """An actor says HELLO with what it has; leases of other tickets never reached it."""
        for name in [name for name, lease in self._leases.items() if lease.actor == actor]:
            if name not in ticket_ids:
                self.give_back(actor, name)
        for name in ticket_ids:
            if name not in self._leases:
                self._grant(name, actor, now)

    def gone(self, actor: Actor) -> int:
        """An actor died or left: its leases end. Returns how many."""
        self._hungry.pop(actor, None)
        ended = [name for name, lease in self._leases.items() if lease.actor == actor]
        for name in ended:
            del self._leases[name]
        self.reissued += len(ended)
        return len(ended)

    def evaluate_result(self, version: int, index: int) -> None:
        """One evaluate ticket is on record."""
        self._played.setdefault(version, set()).add(index)

    def assignments(self, now: float) -> Iterator[tuple[Actor, Ticket]]:
        """Lease open tickets to waiting actors, oldest request first."""
        if not self._hungry:
            return
        self._expire(now)
        for ticket in self._open():
            if not self._hungry:
                return
            actor, _ = self._hungry.popitem(last=False)
            self._grant(ticket.ticket_id, actor, now)
            yield actor, ticket

    @property
    def version(self) -> int:
        """The newest version that all learners have; -1 before all have reported."""
        if len(self._reports) < self.num_agents:
            return -1
        return min(report.version for report in self._reports.values())

    @property
    def env_steps(self) -> int:
        """Training env steps in `version`."""
        return self._env_steps.get(self.version, 0)

    @property
    def trained_out(self) -> bool:
        """Every learner committed the version that is the run's last.

        That is the first at which any of them has seen enough.
        """
        return self.version >= 0 and self.env_steps >= self.config.max_env_steps

    @property
    def finished(self) -> bool:
        """Trained out, and every evaluation is on record."""
        return self.trained_out and not self.pending_evaluations()

    @property
    def keep_from(self) -> int:
        """The oldest parameter version that must be kept: an open ticket needs it.

        The one before a pending evaluation is kept too: its env steps tell a new head what is due.
        """
        needed = [
            tickets.train_version(self.config, max(self.version, 0)),
            *(version - 1 for version in self.pending_evaluations()),
        ]
        return min(needed)

    def knows(self, version: int) -> bool:
        """Whether all learners have this version, and its env steps are known."""
        return version <= self.version and version in self._env_steps

    def env_steps_of(self, version: int) -> int:
        """Training env steps up to a version that some learner still retains or retained."""
        return self._env_steps[version]

    def pending_evaluations(self) -> list[int]:
        """Versions whose evaluation is due and not on record, oldest first."""
        due = [
            version
            for version in sorted(self._env_steps)
            if 0 < version <= self.version and self._is_due(version)
        ]
        return [version for version in due if version not in self.evaluated]

    def ticket_counts(self) -> dict[str, int]:
        """Training and evaluate tickets that are open, by state."""
        leased = len(self._leases)
        return {"waiting": sum(1 for _ in self._open()), "leased": leased}

    def _is_due(self, version: int) -> bool:
        """Evaluations are due where training crosses a multiple of the interval, and at the end."""
        if self.trained_out and version == self.version:
            return True
        before = self._env_steps.get(version - 1)
        if before is None:
            return False
        interval = self.config.evaluation.interval_env_steps
        return self._env_steps[version] // interval > before // interval

    def account(self) -> LeaseAccount:
        """What became of the leases that this head gave out or took over."""
        return LeaseAccount(self.leased, self.fulfilled, self.reissued, len(self._leases))

    def _grant(self, ticket_id: str, actor: Actor, now: float) -> None:
        self._leases[ticket_id] = _Lease(actor, now + self.lease_seconds)
        self.leased += 1

    def _drop_fulfilled(self) -> None:
        done = [name for name in self._leases if self._is_done(name)]
        for name in done:
            del self._leases[name]
        self.fulfilled += len(done)

    def _expire(self, now: float) -> None:
        self._drop_fulfilled()
        late = [name for name, lease in self._leases.items() if lease.deadline < now]
        for name in late:
            del self._leases[name]
        self.reissued += len(late)

    def _is_done(self, ticket_id: str) -> bool:
        kind, first, second = ticket_id.split("/")
        iteration, index = int(first), int(second)
        if kind == tickets.TRAIN:
            return not self._lacking(iteration, index)
        return iteration in self.evaluated or index in self._played.get(iteration, ())

    def _lacking(self, iteration: int, index: int) -> bool:
        """Whether some learner still needs this training ticket, as far as is known."""
        return index not in self._arrived_at_all(iteration)

    def _arrived_at_all(self, iteration: int) -> Collection[int]:
        """Training tickets of an iteration that every learner has, or is past."""
        if iteration not in self._arrived:
            waiting = [
                report.received.get(iteration, frozenset())
                for report in self._reports.values()
                if report.version <= iteration
            ]
            found: Collection[int] = ()
            if len(self._reports) == self.num_agents:
                every = range(tickets.tickets_per_iteration(self.config))
                found = frozenset.intersection(*waiting) if waiting else every
            self._arrived[iteration] = found
        return self._arrived[iteration]

    def _open(self) -> Iterator[Ticket]:
        """Tickets nobody holds: first this iteration, then evaluations, then later iterations."""
        if self.version < 0:
            return
        iterations = self._open_iterations()
        for iteration in iterations[:1]:
            yield from self._unleased_train(iteration)
        for version in self.pending_evaluations():
            played = self._played.get(version, set())
            for ticket in tickets.evaluate_tickets(self.config, version, self.num_agents):
                if ticket.index not in played and ticket.ticket_id not in self._leases:
                    yield ticket
        for iteration in iterations[1:]:
            yield from self._unleased_train(iteration)

    def _unleased_train(self, iteration: int) -> Iterator[Ticket]:
        arrived = self._arrived_at_all(iteration)
        for ticket in tickets.train_tickets(self.config, iteration, self.num_agents):
            if ticket.index not in arrived and ticket.ticket_id not in self._leases:
                yield ticket

    def _open_iterations(self) -> list[int]:
        """Iterations whose parameters exist and that the run needs."""
        if self.trained_out:
            return []
        lag = self.config.max_lag
        steps, iterations = self.env_steps, []
        for iteration in range(self.version, self.version + lag + 1):
            if steps >= self.config.max_env_steps:
                break
            iterations.append(iteration)
            received = max(r.received_env_steps.get(iteration, 0) for r in self._reports.values())
            steps = self._env_steps.get(iteration + 1, steps + received)
        return iterations
