"""The head: directory, ticket leases, run record.

It hands out addresses and tickets and writes down what the run came to. It sees no gradient and no
parameter, and keeps nothing that the learners' reports and the run directory cannot give back:
killed at any moment, it is started again and goes on. Fed by actors and learners over
`dm2_dist.comms`; decides with `launch.dispatcher`; writes with `launch.record`.
"""

import logging
import time
from collections import deque
from typing import Any

from dm2_dist.comms import messages
from dm2_dist.comms.sockets import PeerFrames, Poller, Router
from dm2_dist.config import RunConfig, to_json
from dm2_dist.envs.interface import EnvironmentSpec
from dm2_dist.run_directory import RunDirectory
from dm2_dist.ticket import Ticket
from launch import overview, status
from launch.announcement import Announcements
from launch.dispatcher import Dispatcher, LearnerReport
from launch.loss import Losses
from launch.reception import Facts, FromPeer, Reception, ToHead, object_to
from launch.record import RunRecord
from launch.status import Peer, Speed

_LOG = logging.getLogger(__name__)
_SILENCE_SECONDS = 10.0
_LEASE_SECONDS = 300.0
_DRAIN_SECONDS = 60.0
_STOP_SECONDS = 30.0
_TURN = 1024
"""Messages read before everything else has its turn."""
_SHOWN_EVALUATIONS = 500
"""Newest evaluations in a STATUS: a header has a limit."""


class Head:
    """One run's coordinator; call `step` until `done`."""

    def __init__(
        self,
        config: RunConfig,
        spec: EnvironmentSpec,
        directory: RunDirectory,
        address: str,
        incarnation: int,
    ) -> None:
        self.config, self.spec, self.directory = config, spec, directory
        self.incarnation = incarnation
        self.record = RunRecord.open(directory, config)
        self.dispatcher = Dispatcher(config, spec.num_agents, _LEASE_SECONDS)
        self.dispatcher.evaluated = self.record.evaluated_versions
        self.announcements = Announcements.open(directory, spec.num_agents)
        self.losses = Losses.of(directory, spec.num_agents, config.max_lag)
        self.router = Router(address)
        self.reception = Reception(self.router, Facts(config, spec.num_agents), self._refused)
        self.poller = Poller()
        self.poller.add(self.router)
        self.peers: dict[str, Peer] = {}
        self.phase = "run"
        self.failure = self.metrics_address = ""
        self.interrupted = self.done = False
        self.events: deque[str] = deque(maxlen=20)
        self._phase_since = time.monotonic()
        self.speed = Speed()

    def step(self, timeout: float) -> None:
        """Wait for messages, answer them, lease tickets, move the run along."""
        self.poller.wait(timeout)
        for received in self.router.waiting(_TURN):
            self.receive(received)
        now = time.monotonic()
        self._forget_silent(now)
        if self.phase == "run":
            for (name, incarnation), ticket in self.dispatcher.assignments(now):
                self._lease(name, incarnation, ticket)
        self.announcements.save(now)
        self._advance(now)

    # --- messages ---

    def receive(self, received: PeerFrames) -> None:
        """Take in one message; whatever it is, this does not raise."""
        message = self.reception.read(received)
        if message is not None:
            self._handle(received.peer, message)

    def _handle(self, identity: bytes, message: ToHead) -> None:
        match message:
            case messages.Hello():
                self._hello(identity, message)
            case messages.Command():
                self._command(identity, message)
            case messages.Exited():
                self._exited(message)
            case _:
                self._from_peer(identity, message)

    def _refused(self, identity: bytes) -> None:
        """What could not be used may have been a request: have its sender say HELLO again."""
        for peer in [peer for peer in self.peers.values() if peer.identity == identity]:
            if self.reception.is_banned(identity):
                self._event(f"{peer.hello.source.name} is banned: too much of it was refused")
                self._lose(peer)
            else:
                self.router.send(identity, self._unknown())

    def _hello(self, identity: bytes, hello: messages.Hello) -> None:
        known = self.peers.get(hello.source.name)
        objection = object_to(hello, known, len(self.peers))
        if objection:
            self.reception.turned_away[hello.role] += 1
            self.router.send(identity, messages.Reject(reason=objection))
            return
        if known is not None and known.hello.source.incarnation != hello.source.incarnation:
            self._lose(known)
        now = time.monotonic()
        self.peers[hello.source.name] = Peer(identity, hello, now)
        self.dispatcher.holds(_key(hello.source), hello.holding, now)
        if hello.role == "actor":
            self.announcements.greet(hello.source)
        self.router.send(
            identity,
            messages.Welcome(
                run_id=self.directory.root.name,
                head_incarnation=self.incarnation,
                config_json=to_json(self.config),
                learners=overview.directory(self.peers),
            ),
        )
        if hello.role == "learner":
            self._broadcast(messages.Directory(learners=overview.directory(self.peers)), "actor")

    def _from_peer(self, identity: bytes, message: FromPeer) -> None:
        peer = self.peers.get(message.source.name)
        if peer is None or peer.hello.source.incarnation != message.source.incarnation:
            self.router.send(identity, self._unknown())
            return
        peer.last_heard = time.monotonic()
        match message:
            case messages.LearnerBeat():
                self._learner_beat(peer, message)
            case messages.ActorBeat():
                peer.beat = message
                self.record.note_actor(message)
                self.announcements.note(message)
                self.router.send(identity, self._orders())
            case messages.Want():
                peer.playing = False
                self.dispatcher.want(_key(message.source))
            case messages.Returned():
                self.dispatcher.give_back(_key(message.source), message.ticket_id)
            case messages.Result():
                self._result(message)
            case messages.Bye():
                if isinstance(peer.beat, messages.ActorBeat):
                    self.announcements.leave(message.source, peer.beat.unsettled)
                self._lose(peer)

    def _learner_beat(self, peer: Peer, beat: messages.LearnerBeat) -> None:
        peer.beat = beat
        self.dispatcher.learner_report(
            beat.agent,
            LearnerReport(
                version=beat.version,
                env_steps={int(version): steps for version, steps in beat.env_steps.items()},
                received={int(i): frozenset(indices) for i, indices in beat.received.items()},
                received_env_steps={int(i): steps for i, steps in beat.received_env_steps.items()},
            ),
        )
        self.record.note_learner(beat)
        self.router.send(peer.identity, self._orders())
        if self.dispatcher.version >= 0:
            self.speed.note(time.monotonic(), self.dispatcher.env_steps)

    def _result(self, result: messages.Result) -> None:
        _, version, index = result.ticket_id.split("/")
        if int(version) in self.dispatcher.evaluated:
            return
        if not self.dispatcher.knows(int(version)):
            # A new head that has not heard the learners yet, or a learner that fell back.
            self.dispatcher.give_back(_key(result.source), result.ticket_id)
            return
        self.dispatcher.evaluate_result(int(version), int(index))
        steps = self.dispatcher.env_steps_of(int(version))
        line = self.record.note_result(int(version), int(index), result, steps)
        if line is not None:
            self.dispatcher.evaluated.add(int(version))
            _LOG.info("evaluation env_steps=%s win_rate=%s", steps, line["win_rate"])

    def _exited(self, message: messages.Exited) -> None:
        peer = self.peers.get(message.name)
        if peer is not None and peer.hello.source.incarnation == message.incarnation:
            self._lose(peer)
        self.losses.ended(message.name, message.incarnation)
        if message.exit_code != 0:
            self._event(status.death(message.name, message.exit_code, self.directory.logs))

    def _command(self, identity: bytes, command: messages.Command) -> None:
        self.record.restarts |= command.restarts
        if command.name == "drain":
            self.drain(command.detail)
        if command.name == "fail" and not self.failure:
            self.failure = command.detail
            self._event(command.detail)
            self._enter("stop")  # nobody can settle with a learner that is not there
        if command.name == "close":
            self.done = True
        report = self.report()
        report["evaluations"] = report["evaluations"][-_SHOWN_EVALUATIONS:]
        self.router.send(identity, messages.Status(report=report))

    # --- the run's course ---

    def drain(self, who: str) -> None:
        """End the run early: actors stop playing, learners settle what is in hand."""
        if self.phase == "run":
            self.interrupted = True
            self._event("draining: " + who)
            self._enter("drain")

    def _advance(self, now: float) -> None:
        waited = now - self._phase_since
        roles = [peer.hello.role for peer in self.peers.values()]
        if self.phase == "run" and self.dispatcher.finished:
            self._enter("drain")
        elif self.phase == "drain" and ("actor" not in roles or waited > _DRAIN_SECONDS):
            self._enter("stop")
        elif self.phase == "stop" and ("learner" not in roles or waited > _STOP_SECONDS):
            self.done = True

    def _enter(self, phase: str) -> None:
        _LOG.info("phase=%s", phase)
        self.phase, self._phase_since = phase, time.monotonic()
        self._broadcast(self._orders(), "actor")
        self._broadcast(self._orders(), "learner")

    def close(self) -> dict[str, Any]:
        """Write the summary and let the sockets go."""
        summary = self.record.write_summary(self.spec.num_agents, self.failure)
        self.router.close()
        return summary

    def _lease(self, name: str, incarnation: int, ticket: Ticket) -> None:
        peer = self.peers.get(name)
        lease = messages.Lease(
            head_incarnation=self.incarnation,
            ticket_kind=ticket.kind,
            iteration=ticket.iteration,
            index=ticket.index,
            seeds=ticket.seeds,
            versions=ticket.versions,
            greedy=ticket.greedy,
            newest=ticket.newest,
        )
        if peer is None or not self.router.send(peer.identity, lease):
            self.dispatcher.gone((name, incarnation))
            return
        peer.playing = True

    def _forget_silent(self, now: float) -> None:
        for peer in list(self.peers.values()):
            if peer.hello.role == "actor" and now - peer.last_heard > _SILENCE_SECONDS:
                self._event(
                    f"{peer.hello.source.name} has been silent for {_SILENCE_SECONDS:.0f} s"
                )
                self._lose(peer)

    def _lose(self, peer: Peer) -> None:
        """A role is gone: end its leases; its name may come back as a new incarnation."""
        self.dispatcher.gone(_key(peer.hello.source))
        self.peers.pop(peer.hello.source.name, None)

    def _event(self, text: str) -> None:
        _LOG.info("event: %s", text)
        self.events.append(text)

    def _orders(self) -> messages.Orders:
        return messages.Orders(
            head_incarnation=self.incarnation, keep_from=self.dispatcher.keep_from, phase=self.phase
        )

    def _unknown(self) -> messages.Orders:
        """For who is not known, or was given up on: no head has incarnation 0, so it says HELLO."""
        return messages.Orders(head_incarnation=0, keep_from=0, phase=self.phase)

    def _broadcast(self, message: messages.Message, role: str) -> None:
        for peer in self.peers.values():
            if peer.hello.role == role:
                self.router.send(peer.identity, message)

    def report(self) -> dict[str, Any]:
        """The run at a glance: for the terminal, `/status` and the summary."""
        return overview.report(self)


def _key(source: messages.Source) -> tuple[str, int]:
    return source.name, source.incarnation
