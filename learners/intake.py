"""A learner's socket thread: takes trajectories in, accounts for them, commits, settles, publishes.

It owns the sockets and the journal; the trainer only sees whole iterations (`learners.handover`)
and answers each with a `Trained`. Fed by `actors.session`; feeds `learners.loop`.
"""

import logging
import threading
import time
from dataclasses import replace

from dm2_dist import ticket as tickets
from dm2_dist import trajectory
from dm2_dist.comms import messages, slice_body
from dm2_dist.comms.codec import Buffer
from dm2_dist.comms.control import HeadLink
from dm2_dist.comms.inspection import check_header, check_place
from dm2_dist.comms.ledger import Settlement, Verdict
from dm2_dist.comms.mailbox import Mailbox
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.comms.sockets import PeerFrames, Poller, Publisher, Router
from dm2_dist.config import RunConfig
from dm2_dist.envs.interface import EnvironmentSpec
from dm2_dist.trajectory import Slice
from learners import backlog
from learners.correspondents import Correspondents
from learners.expectation import expectation_of
from learners.handover import Batch, Handover
from learners.heartbeat import heartbeat
from learners.journal import Journal, Trained
from learners.lag import Lags
from learners.tally import Tally
from monitoring.metrics import LearnerMetrics

_LOG = logging.getLogger(__name__)
_BEAT_SECONDS = 0.5
_EAGER_SECONDS = 0.02
_ASK_SECONDS = 0.005
_DROPS_SECONDS = 1.0
_TURN = 256
"""Messages read before everything else has its turn."""


class Intake(threading.Thread):
    """The socket thread of one learner.

    handover: where the trainer takes iterations from; outbox: where it leaves what it trained.
    correspondents: the actors; budget: where the trainer's time goes.
    failure: the exception that ended this thread, if one did.
    """

    def __init__(
        self,
        config: RunConfig,
        spec: EnvironmentSpec,
        run_id: str,
        journal: Journal,
        head: HeadLink,
        listen: tuple[str, str],
        metrics: LearnerMetrics,
    ) -> None:
        super().__init__(name="intake", daemon=True)
        self.handover = Handover()
        self.outbox: Mailbox[Trained] = Mailbox(capacity=4)
        self.budget = metrics.budget
        self.failure: BaseException | None = None
        self._config, self._spec, self._run_id = config, spec, run_id
        self._journal, self._head = journal, head
        self._agent = int(head.source.name.removeprefix("learner-"))
        self._metrics = metrics
        self._router, self._publisher = Router(listen[0]), Publisher(listen[1])
        self.correspondents = Correspondents(self._router, head.source.incarnation, metrics)
        self._poller = Poller()
        for pollable in (self._router, self._publisher, head.dealer, self.outbox):
            self._poller.add(pollable)
        self._horizon = config.max_lag + 1
        self._size = tickets.tickets_per_iteration(config)
        self._buffer: dict[int, dict[int, Slice]] = {}
        self._handed = max(journal.version, 0)
        self._handed_env_steps = journal.newest.env_steps if journal.newest is not None else 0
        self._expectations = [expectation_of(config, spec, at) for at in (0, self._size - 1)]
        slice_body.prepare()
        self._tally = Tally()
        self._lags = Lags(self._agent)
        self._changed, self._drops = True, False
        self._drops_at = self._beat_at = self._shown_at = self._asked_at = 0.0

    @property
    def addresses(self) -> tuple[str, str]:
        """Where trajectories go to and parameters come from."""
        return self._router.address, self._publisher.address

    def run(self) -> None:
        """Serve until the head says stop; a failure closes the handover and so ends the trainer."""
        try:
            while self._head.phase != "stop":
                ready = self._poller.wait(_EAGER_SECONDS if self._changed else _BEAT_SECONDS / 2)
                self.serve(time.monotonic(), busy=ready == {self._router})
            self._leave()
        except BaseException as failure:
            _LOG.exception("intake failed")
            self.failure = failure
        finally:
            self.handover.close()
            self.outbox.close()

    def serve(self, now: float, *, busy: bool = False) -> None:
        """One turn, without waiting.

        Args:
            now: monotonic seconds.
            busy: only actors have anything to say; the others need not be asked every time.
        """
        for received in self._router.waiting(_TURN):
            self.receive(received)
        if self._tally.messages:
            self._tally.show(self._metrics, self._journal.book.num_buffered)
        if busy and now - self._asked_at < _ASK_SECONDS:
            return
        self._asked_at = now
        for _ in self._head.poll(now):
            self._changed = True
        for trained in self.outbox.take():
            self._commit(trained)
            self._beat(now, due=True)  # the head keeps the metrics of every version
        if self._head.phase != "run":
            self._drain()
        elif self._drops and now - self._drops_at >= _DROPS_SECONDS:
            self._settle_drops(now)
        self._journal.versions.beacon(self._publisher, now)
        self._beat(now)

    # --- actors ---

    def receive(self, received: PeerFrames) -> None:
        """Take in one message of an actor; whatever it is, this does not raise."""
        self._tally.messages += 1
        self._tally.num_bytes += len(received.header) + len(received.body or b"")
        letter = self.correspondents.read(received)
        if letter is None:
            return
        match letter.message:
            case messages.Open() as opening:
                self.correspondents.open(letter.peer, opening, self._run_id)
            case messages.Get(version=version):
                self._journal.versions.answer(self._router, letter.peer, version)
            case messages.Trajectory() as header:
                self._trajectory(letter.peer, header, letter.body)

    def _trajectory(self, peer: bytes, header: messages.Trajectory, body: Buffer | None) -> None:
        if header.learner_incarnation != self._head.source.incarnation:
            return  # meant for our predecessor; the actor sends it again once it has heard of us
        self.correspondents.taken(header.source, peer)
        book = self._journal.book
        verdict = book.receive(
            header.source, header.sequence, header.iteration, header.index, header.floor
        )
        match verdict:
            case Verdict.ACCEPT:
                self._tally.received += 1
                self._accept(peer, header, body)
            case Verdict.DROP:
                self._tally.received += 1
                draining = self._head.phase != "run"
                self._dropped(header, Reason.SHUTDOWN if draining else Reason.DUPLICATE)
            case Verdict.SETTLED:
                self._tally.resent += 1
                outcome = book.outcome(header.source, header.sequence)
                settlement = Settlement(header.source, header.sequence, outcome)
                self.correspondents.settle([settlement])
            case Verdict.RESENT:
                self._tally.resent += 1
                _LOG.info("resent source=%s sequence=%s", header.source.name, header.sequence)

    def _accept(self, peer: bytes, header: messages.Trajectory, body: Buffer | None) -> None:
        """Check a new trajectory and buffer it; whatever is wrong with it is booked as a drop."""
        versions = tickets.train_versions(self._config, header.iteration)
        expectation = self._expectations[header.index == self._size - 1]
        try:
            check_place(header, self._journal.book.version, self._horizon, self._size)
            check_header(header, self._run_id, self._agent, self._spec.num_agents, versions)
            part = slice_body.decode_slice(header, body or b"", expectation)
        except Refused as refusal:
            _LOG.warning("refused source=%s reason=%s", header.source.name, refusal)
            self._journal.book.drop(header.source, header.sequence, refusal.reason)
            self._dropped(header, refusal.reason)
            self.correspondents.refused(peer, refusal.reason)
            return
        self._buffer.setdefault(header.iteration, {})[header.index] = part
        self._lags.note(header.iteration, header.index, header.versions)
        self._changed = True
        self._hand_over()

    def _dropped(self, header: messages.Trajectory, reason: str) -> None:
        self._tally.dropped[reason] += 1
        self._drops = True
        _LOG.info("dropped source=%s reason=%s", header.source.name, reason)

    def _hand_over(self) -> None:
        """Give every iteration that is complete to the trainer, in order, up to the run's end.

        With a lag, iterations after the last may be complete, too: they are not trained.
        """
        while (
            self._head.phase == "run"
            and self._handed_env_steps < self._config.max_env_steps
            and len(self._buffer.get(self._handed, ())) == self._size
        ):
            parts = self._buffer[self._handed]
            data = trajectory.concatenate([parts[index] for index in sorted(parts)])
            self.handover.put(Batch(self._handed, data))
            self._handed += 1
            self._handed_env_steps += data.env_steps

    # --- the trainer ---

    def _commit(self, trained: Trained) -> None:
        """Put an iteration on disk, then settle it, then publish it."""
        started = time.monotonic()
        lag = self._lags.take(trained.version - 1)
        trained = replace(trained, metrics=trained.metrics | lag.metrics())
        settlements = self._journal.commit(trained, self._head.keep_from)
        self.correspondents.settle(settlements)
        self._journal.versions.publish(self._publisher, trained.version)
        self.handover.committed(trained.version - 1)
        self._changed = True
        if trained.version:
            del self._buffer[trained.version - 1]
            with self._metrics.together():
                self._metrics.trained(self._size)
                self._metrics.buffered(self._journal.book.num_buffered)
            self._metrics.iteration(trained.version, trained.metrics)
            self._metrics.lag(lag.own, lag.peers)
        seconds = time.monotonic() - started
        self._metrics.committed(seconds, len(trained.snapshot))
        _LOG.info(
            "committed version=%s env_steps=%s seconds=%.3f",
            *(trained.version, trained.env_steps, seconds),
        )

    # --- the end ---

    def _drain(self) -> None:
        """Once nothing is in training, drop what is left and settle that too."""
        self.handover.close()
        if not self.handover.idle or self._journal.newest is None:
            return
        book = self._journal.book
        if book.buffered():
            for reason_count in book.buffered().values():
                self._metrics.dropped(Reason.SHUTDOWN, len(reason_count))
            self._drops = True
        book.drop_all(Reason.SHUTDOWN)
        self._buffer.clear()
        self._lags.clear()
        if self._drops:
            self._settle_drops(time.monotonic())

    def _settle_drops(self, now: float) -> None:
        """Settle drops without waiting for an iteration: a dropped ticket must be leased again."""
        self._drops, self._drops_at = False, now
        self.correspondents.settle(self._journal.commit_drops())

    def _leave(self) -> None:
        self._drain()
        self._head.send(messages.Bye(source=self._head.source))
        self._router.close()
        self._publisher.close()
        self._head.dealer.close()

    # --- the head ---

    def _beat(self, now: float, *, due: bool = False) -> None:
        newest = self._journal.newest
        if newest is None or self._head.welcome is None:
            return
        if not due and now - self._beat_at < (_EAGER_SECONDS if self._changed else _BEAT_SECONDS):
            return
        self._beat_at, self._changed = now, False
        self._metrics.buffered(self._journal.book.num_buffered)
        if now - self._shown_at >= _BEAT_SECONDS:  # it looks at every array that waits
            self._shown_at = now
            backlog.show(
                self._metrics,
                self._buffer,
                self.handover,
                self.outbox,
                self._journal,
                self._horizon * self._size,
            )
        self._head.send(
            heartbeat(
                self._head.source,
                self._agent,
                self._journal,
                self._buffer,
                self.budget.named(),
            )
        )
