"""An actor that started while a learner was away finds it when it comes back."""

import threading
import time
from pathlib import Path

import pytest

from actors.session import ActorSession
from dm2_dist.comms import codec, messages
from dm2_dist.comms.sockets import Publisher, Router
from dm2_dist.ticket import Ticket

TICKET = Ticket("train", iteration=3, index=0, seeds=(1,), versions=(3,), greedy=False)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(30)]


class Counterpart(threading.Thread):
    """A head that welcomes without naming the learner, names it later, and that learner.

    asked: versions that the actor asked the learner for.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.head = Router(f"ipc://{folder}/head")
        self.learner = Router(f"ipc://{folder}/t")
        self.parameters = Publisher(f"ipc://{folder}/p")
        self.addresses = (f"ipc://{folder}/t", f"ipc://{folder}/p")
        self.asked: list[int] = []
        self.stop = False

    def run(self) -> None:
        while not self.stop:
            while (received := self.head.recv()) is not None:
                message = codec.unpack(received.header, messages.CONTROL_KINDS)
                if isinstance(message, messages.Hello):
                    welcome = messages.Welcome(
                        run_id="run", head_incarnation=1, config_json="{}", learners={}
                    )
                    self.head.send(received.peer, welcome)
                    directory = messages.Directory(learners={"0": self.addresses})
                    self.head.send(received.peer, directory)
            while (received := self.learner.recv()) is not None:
                message = codec.unpack(received.header, messages.TRAJECTORY_KINDS)
                if isinstance(message, messages.Get):
                    self.asked.append(message.version)
                    missing = messages.Missing(agent=0, version=message.version)
                    self.learner.send(received.peer, missing)
            time.sleep(0.01)

    def end(self) -> None:
        """Close everything."""
        self.stop = True
        self.join()
        for socket in (self.head, self.learner, self.parameters):
            socket.close()


def test_an_actor_follows_the_directory_while_it_waits_for_parameters(tmp_path: Path) -> None:
    counterpart = Counterpart(tmp_path)
    counterpart.start()
    source = messages.Source(name="actor-0", incarnation=7)
    session = ActorSession(f"ipc://{tmp_path}/head", source, tmp_path, 1, 4, "")
    waiting = threading.Thread(target=session.parameters, args=(TICKET,), daemon=True)
    waiting.start()
    waiting.join(15)
    asked, waits = counterpart.asked, waiting.is_alive()
    if not waits:
        session.leave(0.0)
    counterpart.end()
    assert asked[:1] == [3], "the learner was never asked for the version that is due"
    assert not waits
