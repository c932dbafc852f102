"""An actor that makes up slices until told to leave. Arguments: directory, name, agents."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

from dm2_dist.comms import codec, messages, slice_body
from dm2_dist.comms.counter_file import CounterFile
from dm2_dist.comms.ledger import ActorBook
from dm2_dist.comms.sockets import Dealer, Poller, Subscriber, close_context
from dm2_dist.trajectory import Slice

TICKETS = 6


def made_up_slice(iteration, index):
    length = np.array([2 + index, 3 + iteration % 5], np.int32)
    steps = int(length.sum())
    return Slice(
        observation=np.full((steps + 2, 4), iteration, np.float32),
        available_actions=np.ones((steps + 2, 3), np.uint8),
        alive=np.ones(steps + 2, np.uint8),
        action=np.full(steps, index % 3, np.uint8),
        behaviour_log_prob=np.full(steps, -1.0, np.float32),
        reward=np.ones(steps, np.float32),
        length=length,
        terminated=np.array([1, 0], np.uint8),
        truncated=np.array([0, 1], np.uint8),
        won=np.array([1, 0], np.uint8),
    )


class Actor:
    def __init__(self, directory: Path, name: str, num_agents: int):
        self.source = messages.Source(name=name, incarnation=time.time_ns())
        self.random = random.Random(self.source.incarnation)
        identity = f"{name}.{self.source.incarnation}"
        self.counters = CounterFile(directory / f"{identity}.cnt", self.source, num_agents)
        self.book: ActorBook = ActorBook(num_agents, capacity=4 * TICKETS)
        self.dealers = [
            Dealer(f"ipc://{directory}/t{agent}.sock", identity.encode())
            for agent in range(num_agents)
        ]
        self.subscriber = Subscriber()
        self.poller = Poller()
        self.poller.add(self.subscriber)
        for agent, dealer in enumerate(self.dealers):
            self.poller.add(dealer)
            self.subscriber.connect(f"ipc://{directory}/p{agent}.sock")
        self.versions = [-1] * num_agents
        self.played = set()
        self.leaving = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "leaving", True))
        (directory / f"{os.getpid()}.ready").touch()

    def run(self):
        while not (self.leaving and self.book.unsettled == 0):
            self.poller.wait(0.005)
            for frames in self.subscriber.drain(100):
                beacon = codec.unpack(frames.header, messages.TRAJECTORY_KINDS)
                self.versions[beacon.agent] = beacon.version
            if not self.leaving and not self.book.is_full and min(self.versions) >= 0:
                self.play()
            for agent, dealer in enumerate(self.dealers):
                self.converse(agent, dealer)
        self.counters.close(clean=True)
        close_context()

    def play(self):
        first = min(self.versions)
        open_tickets = [(i, j) for i in (first, first + 1) for j in range(TICKETS)]
        choice = [ticket for ticket in open_tickets if ticket not in self.played]
        if not choice:
            return
        iteration, index = self.random.choice(choice)
        self.played.add((iteration, index))
        encoded = slice_body.encode_slice(made_up_slice(iteration, index))
        for agent in range(len(self.dealers)):
            self.book.produce(agent, (iteration, index, encoded))
            self.counters.set_produced(agent, self.book.account(agent).produced)

    def converse(self, agent, dealer):
        if dealer.take_connected():
            self.book.on_open(agent)
            dealer.send(messages.Open(protocol=1, source=self.source, run_id="run"))
        while (frames := dealer.recv()) is not None:
            match codec.unpack(frames.header, messages.TRAJECTORY_KINDS):
                case messages.Credit(learner_incarnation=who, amount=amount, opens=opens):
                    self.book.on_credit(agent, who, amount, opens=opens)
                case messages.Settle(learner_incarnation=who, outcomes=outcomes):
                    self.book.on_settle(agent, who, outcomes)
                    account = self.book.account(agent)
                    assert account.imbalance == 0
                    self.counters.set_settled(agent, account.produced - account.unsettled)
        while (waiting := self.book.to_send(agent)) is not None and self.send(
            agent, dealer, *waiting
        ):
            self.book.sent(agent, waiting[0])

    def send(self, agent, dealer, sequence, payload):
        iteration, index, (tensors, body, digest) = payload
        if self.source.name == "actor-0" and self.random.random() < 0.02:
            body = bytes([body[0] ^ 1]) + body[1:]
        header = messages.Trajectory(
            source=self.source,
            learner_incarnation=self.book.incarnation(agent),
            run_id="run",
            agent=agent,
            sequence=sequence,
            iteration=iteration,
            index=index,
            versions=tuple(self.versions),
            tensors=tensors,
            digest=digest,
        )
        return dealer.send(header, body)


if __name__ == "__main__":
    Actor(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])).run()
