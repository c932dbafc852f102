"""An actor on another host: a network namespace of its own, joined by a pair of virtual cables.

Head and learners are on this side and listen on loopback only; a relay on this end of the cable
leads to them, and everybody has keys, as whoever leaves a machine must. A partition sends packets
to nobody, in both directions: no reset, no error.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.fleet import AGENTS, ROOT, Fleet, books_close, command, local
from tests.chaos.proxy import Proxy, two_in_a_row

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(400)]

LONG = ("--max-env-steps", "4000", "--ppo.epochs", "30")
NOBODY = "02:00:00:00:00:99"


class Cable:
    """A namespace, and the two ends of a cable into it.

    near, far: this host's address on it, and the other's.
    """

    def __init__(self, number: int) -> None:
        self.name = f"dm2t{os.getpid()}"
        self.device, self.inner = f"d{os.getpid()}a", f"d{os.getpid()}b"
        self.near, self.far = f"198.18.{number}.1", f"198.18.{number}.2"
        self._ip("netns", "add", self.name)
        self._ip("link", "add", self.device, "type", "veth", "peer", "name", self.inner)
        self._ip("link", "set", self.inner, "netns", self.name)
        self._ip("addr", "add", f"{self.near}/24", "dev", self.device)
        self._ip("link", "set", self.device, "up")
        self._there("addr", "add", f"{self.far}/24", "dev", self.inner)
        self._there("link", "set", self.inner, "up")
        self._there("link", "set", "lo", "up")

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs a command on the other side."""
        return ("ip", "netns", "exec", self.name)

    def break_off(self) -> None:
        """From now on packets of either side go to a machine that does not exist."""
        self._neighbour(self._ip, self.far, self.device, "replace")
        self._neighbour(self._there, self.near, self.inner, "replace")

    def heal(self) -> None:
        self._neighbour(self._ip, self.far, self.device, "del")
        self._neighbour(self._there, self.near, self.inner, "del")

    def move(self) -> None:
        """The other host gets another address; its connections have lost theirs."""
        self._there("addr", "del", f"{self.far}/24", "dev", self.inner)
        self.far = self.far[:-1] + "3"
        self._there("addr", "add", f"{self.far}/24", "dev", self.inner)

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self.device], check=False, capture_output=True)

    @staticmethod
    def _neighbour(run, address: str, device: str, verb: str) -> None:
        state = ("lladdr", NOBODY, "nud", "permanent") if verb == "replace" else ()
        run("neigh", verb, address, *state, "dev", device)

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    def _there(self, *words: str) -> None:
        self._ip("-n", self.name, *words)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if shutil.which("ip") is None:
        pytest.skip("the program ip (iproute2) is missing")
    made = Cable.__new__(Cable)
    try:
        made.__init__(77)
    except subprocess.CalledProcessError as error:
        made.remove()
        pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
    yield made
    made.remove()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    started = Fleet(tmp_path)
    keys = str(tmp_path / "keys")
    subprocess.run(command("keys", "init", keys), cwd=ROOT, check=True, capture_output=True)
    started.common = ("--keys", keys)
    yield started
    started.end()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return local(tmp_path_factory.mktemp("undisturbed") / "run", *LONG)["parameters_sha256"]


class Relay:
    """This end's ways to the head and to every learner."""

    def __init__(self, fleet: Fleet, cable: Cable) -> None:
        self.head = Proxy(fleet.head_address, host=cable.near)
        self.learners = [self._pair(fleet, cable, agent) for agent in range(AGENTS)]

    @staticmethod
    def _pair(fleet: Fleet, cable: Cable, agent: int) -> tuple[Proxy, Proxy]:
        return two_in_a_row(
            lambda: fleet.learner_address(agent, "trajectories"),
            lambda: fleet.learner_address(agent, "parameters"),
            host=cable.near,
        )

    def close(self) -> None:
        for proxy in (self.head, *(proxy for pair in self.learners for proxy in pair)):
            proxy.close()


@pytest.fixture
def relay(fleet: Fleet, cable: Cable) -> Iterator[Relay]:
    made = Relay(fleet, cable)
    yield made
    made.close()


def set_up(fleet: Fleet, relay: Relay, cable: Cable) -> str:
    """Start everybody, with one actor on the other side; returns the head's own address."""
    fleet.head(*LONG)
    fleet.until(fleet.head_address, "the head listens")
    head = str(fleet.head_address())
    for agent in range(AGENTS):
        fleet.learner(agent, head, "--announce", relay.learners[agent][0].address)
    fleet.actor("actor-far-0", relay.head.address, prefix=cable.prefix)
    return head


def test_a_partition_that_heals_only_takes_time(
    fleet: Fleet, relay: Relay, cable: Cable, expected: dict
) -> None:
    set_up(fleet, relay, cable)
    fleet.until(lambda: fleet.version() >= 1, "the first iteration is trained")
    cable.break_off()
    silent = "actor-far-0 has been silent for 10 s"
    log = fleet.run / "logs/head-0.log"
    fleet.until(lambda: silent in log.read_text(), "the head gives up on the actor")
    assert not (fleet.run / "summary.json").exists(), "the run was over before the partition"
    time.sleep(5)
    cable.heal()
    assert fleet.wait("head") == 0, fleet.story()
    assert fleet.summary["parameters_sha256"] == expected
    assert books_close(fleet.summary), fleet.summary["ledger"]
    assert fleet.summary["ledger"]["lost"] == {}
    assert fleet.wait("actor-far-0") == 0, fleet.story()


def test_a_host_that_is_lost_for_ever_costs_only_what_it_held(
    fleet: Fleet, relay: Relay, cable: Cable, expected: dict
) -> None:
    head = set_up(fleet, relay, cable)
    fleet.until(lambda: fleet.version() >= 1, "the first iteration is trained")
    relay.learners[1][0].partitioned = True  # it plays on, and cannot deliver to learner 1
    held = fleet.announced()["actor-far-0"]["produced"][1] + 2
    fleet.until(
        lambda: fleet.announced()["actor-far-0"]["produced"][1] >= held, "it holds what it played"
    )
    cable.break_off()
    log = fleet.run / "logs/head-0.log"
    fleet.until(
        lambda: "actor-far-0 has been silent for 10 s" in log.read_text(), "the head gives up on it"
    )
    fleet.kill("actor-far-0")
    del fleet.processes["actor-far-0"]
    relay.learners[1][0].cut()  # what was on its way is lost, too
    relay.learners[1][0].partitioned = False
    fleet.actor("actor-near-0", head)
    assert fleet.wait("head") == 0, fleet.story()
    ledger = fleet.summary["ledger"]
    print(ledger)
    assert fleet.summary["parameters_sha256"] == expected
    assert books_close(fleet.summary), ledger
    assert ledger["lost"]["host_lost"] >= 1
    assert set(ledger["lost"]) == {"host_lost"}


def test_a_host_whose_address_changes_goes_on(
    fleet: Fleet, relay: Relay, cable: Cable, expected: dict
) -> None:
    set_up(fleet, relay, cable)
    fleet.until(lambda: fleet.version() >= 1, "the first iteration is trained")
    before = relay.head.made
    cable.move()
    fleet.until(lambda: relay.head.made > before, "it has connected again")
    assert not (fleet.run / "summary.json").exists(), "the run was over before the move"
    assert fleet.wait("head") == 0, fleet.story()
    assert fleet.summary["parameters_sha256"] == expected
    assert books_close(fleet.summary), fleet.summary["ledger"]
    assert fleet.summary["ledger"]["lost"] == {}


def test_whoever_has_keys_may_listen_in_public(fleet: Fleet, cable: Cable, expected: dict) -> None:
    fleet.head(*LONG, listen=f"tcp://{cable.near}:0")
    fleet.until(fleet.head_address, "the head listens")
    head = str(fleet.head_address())
    for agent in range(AGENTS):
        fleet.learner(agent, head)
    fleet.actor("actor-far-0", head, prefix=cable.prefix)
    assert fleet.wait("head") == 0, fleet.story()
    for agent in range(AGENTS):
        for what in ("trajectories", "parameters"):
            address = fleet.learner_address(agent, what)
            assert str(address).startswith(f"tcp://{cable.near}:"), "not the way to the head"
    assert fleet.summary["parameters_sha256"] == expected
    assert books_close(fleet.summary), fleet.summary["ledger"]
    assert fleet.summary["ledger"]["lost"] == {}
