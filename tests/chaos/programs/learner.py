"""A learner that trains nothing: takes, commits, settles. Arguments: directory, agent."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from dm2_dist.comms import codec, messages, slice_body
from dm2_dist.comms.inspection import Expectation
from dm2_dist.comms.ledger import LearnerBook, Settlement, Verdict
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.comms.sockets import Poller, Publisher, Router

TICKETS = 6
EXPECTATION = Expectation(observation_size=4, num_actions=3, episode_limit=20, num_episodes=2)


class Learner:
    def __init__(self, directory: Path, agent: int):
        self.incarnation = time.time_ns()
        self.path = directory / f"learner-{agent}.json"
        self.agent = agent
        self.book, self.audit = LearnerBook(), []
        if self.path.exists():
            saved = json.loads(self.path.read_text())
            self.book, self.audit = LearnerBook.from_json(saved["book"]), saved["audit"]
        self.router = Router(f"ipc://{directory}/t{agent}.sock")
        self.publisher = Publisher(f"ipc://{directory}/p{agent}.sock")
        self.draining = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "draining", True))
        (directory / f"{os.getpid()}.ready").touch()

    def serve(self):
        poller = Poller()
        poller.add(self.router)
        beacon_at = 0.0
        while True:
            poller.wait(0.02)
            while (received := self.router.recv()) is not None:
                self.answer(received)
            if self.draining:
                self.book.drop_all(Reason.SHUTDOWN)
                self.write_and_settle(self.book.commit_drops())
            elif self.book.buffered().get(self.book.version) == tuple(range(TICKETS)):
                time.sleep(0.005)
                self.audit.append([self.book.version, list(range(TICKETS))])
                self.write_and_settle(self.book.commit(self.book.version))
                beacon_at = 0.0
            if time.monotonic() - beacon_at > 0.2 or self.publisher.take_subscribed():
                beacon_at = time.monotonic()
                version = self.book.version
                self.publisher.publish(
                    messages.Beacon(agent=self.agent, version=version, digest="")
                )

    def answer(self, received):
        message = codec.unpack(received.header, messages.TRAJECTORY_KINDS)
        if isinstance(message, messages.Open):
            self.credit(received.peer, 4, opens=True)
        elif message.learner_incarnation == self.incarnation:
            self.credit(received.peer, 1, opens=False)
            self.judge(message, received.body)

    def credit(self, peer, amount, *, opens):
        message = messages.Credit(learner_incarnation=self.incarnation, amount=amount, opens=opens)
        self.router.send(peer, message)

    def judge(self, header, body):
        key = header.source, header.sequence
        verdict = self.book.receive(*key, header.iteration, header.index)
        if verdict is Verdict.SETTLED:
            self.settle([Settlement(*key, self.book.outcome(*key))])
        elif verdict is Verdict.ACCEPT:
            try:
                slice_body.decode_slice(header, body, EXPECTATION)
            except Refused as refused:
                self.book.drop(*key, refused.reason)

    def write_and_settle(self, settlements):
        if not settlements:
            return
        temporary = self.path.with_suffix(".new")
        with temporary.open("w") as file:
            json.dump({"book": self.book.to_json(), "audit": self.audit}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path)
        self.settle(settlements)

    def settle(self, settlements):
        for source in {entry.source for entry in settlements}:
            outcomes = [(n, outcome) for whose, n, outcome in settlements if whose == source]
            peer = f"{source.name}.{source.incarnation}".encode()
            for message in codec.settle_messages(self.incarnation, outcomes):
                self.router.send(peer, message)


if __name__ == "__main__":
    Learner(Path(sys.argv[1]), int(sys.argv[2])).serve()
