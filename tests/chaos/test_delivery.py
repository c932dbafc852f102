"""Actors and learners are killed at seeded moments: the books close, nothing is trained twice."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dm2_dist.comms.counter_file import read_counters
from dm2_dist.comms.ledger import ACTOR_DIED, LearnerBook, close

pytestmark = pytest.mark.chaos

PROGRAMS = Path(__file__).parent / "programs"
ACTORS = 3
CHAOS_SECONDS = 6.0
SETTLE_SECONDS = 15.0


class Cast:
    """The processes of a run; only they are ever signalled."""

    def __init__(self, directory, agents):
        self.directory = directory
        self.agents = agents
        self.processes = {}
        self.kills = {"actor": 0, "learner": 0}
        for agent in range(agents):
            self.start(("learner", agent))
        for number in range(ACTORS):
            self.start(("actor", number))

    def start(self, who):
        role, number = who
        if role == "learner":
            arguments = ["learner.py", str(number)]
        else:
            arguments = ["actor.py", f"actor-{number}", str(self.agents)]
        command = [
            sys.executable,
            str(PROGRAMS / arguments[0]),
            str(self.directory),
            *arguments[1:],
        ]
        log = (self.directory / f"{role}-{number}.log").open("ab")
        with log:
            self.processes[who] = subprocess.Popen(command, stderr=log)

    def replace(self, who):
        self.processes[who].send_signal(signal.SIGKILL)
        self.processes[who].wait()
        self.kills[who[0]] += 1
        self.start(who)

    def of(self, role):
        return [process for who, process in self.processes.items() if who[0] == role]

    def end(self):
        for process in self.processes.values():
            process.kill()
            process.wait()

    def logs(self):
        return "\n".join(path.read_text() for path in self.directory.glob("*.log"))


@pytest.mark.parametrize(("agents", "seed"), [(1, 11), (2, 12)])
def test_kill_9_of_anybody_loses_only_what_dead_actors_held(tmp_path, agents, seed):
    chaos = random.Random(seed)
    cast = Cast(tmp_path, agents)
    try:
        wait_for_progress(cast, 2)
        end = time.monotonic() + CHAOS_SECONDS
        while time.monotonic() < end:
            time.sleep(chaos.uniform(0.1, 0.9))
            cast.replace(chaos.choice(sorted(cast.processes)))
        wait_for_progress(cast, min(versions(cast)) + 2)
        drain(cast)
    finally:
        cast.end()
    check(cast)


def versions(cast):
    found = []
    for agent in range(cast.agents):
        path = cast.directory / f"learner-{agent}.json"
        text = json.loads(path.read_text())["book"] if path.exists() else LearnerBook().to_json()
        found.append(LearnerBook.from_json(text).version)
    return found


def wait_for_progress(cast, version):
    deadline = time.monotonic() + SETTLE_SECONDS
    while min(versions(cast)) < version:
        assert time.monotonic() < deadline, f"no progress: {versions(cast)}\n{cast.logs()}"
        time.sleep(0.02)


def drain(cast):
    deadline = time.monotonic() + SETTLE_SECONDS
    for process in cast.of("actor") + cast.of("learner"):
        while not (cast.directory / f"{process.pid}.ready").exists():
            assert time.monotonic() < deadline, cast.logs()
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
    for process in cast.of("actor"):
        assert process.wait(SETTLE_SECONDS) == 0, cast.logs()


def check(cast):
    counters = [read_counters(path) for path in cast.directory.glob("*.cnt")]
    saved = {
        agent: json.loads((cast.directory / f"learner-{agent}.json").read_text())
        for agent in range(cast.agents)
    }
    books = {agent: LearnerBook.from_json(entry["book"]) for agent, entry in saved.items()}
    totals = close(counters, books)
    assert totals.error == 0, totals
    gone = sum(totals.dropped.values()) + sum(totals.lost.values())
    assert totals.produced == totals.trained + gone
    assert set(totals.lost) <= {ACTOR_DIED}
    assert set(totals.dropped) <= {"duplicate", "corrupt", "shutdown"}
    for agent, entry in saved.items():
        whole = [[iteration, list(range(6))] for iteration in range(books[agent].version)]
        assert entry["audit"] == whole
    assert totals.trained == 6 * sum(book.version for book in books.values())
    assert min(cast.kills.values()) > 0, "the seed kills both kinds"
    assert sum(entry.closed for entry in counters) == ACTORS
    print(cast.kills, totals, versions(cast))
