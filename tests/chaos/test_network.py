"""Runs over TCP through a bad network end with the same bits as a run over ipc, books closed."""

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.fleet import AGENTS, Fleet, books_close, local
from tests.chaos.proxy import Proxy, two_in_a_row

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

SHORT = ("--max-env-steps", "700")
ENDLESS = ("--max-env-steps", "10000000")
LONG = ("--max-env-steps", "4000", "--ppo.epochs", "30")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], dict]:
    """Summaries of undisturbed runs by the words that ask for them, made when first needed."""
    folder = tmp_path_factory.mktemp("undisturbed")

    class Summaries(dict):
        def __missing__(self, words: tuple[str, ...]) -> dict:
            self[words] = local(folder / str(len(self)), *words)
            return self[words]

    return Summaries()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    started = Fleet(tmp_path)
    yield started
    started.end()


class Network:
    """A proxy before the head, and two before every learner."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.head = Proxy(fleet.head_address, seed=seed)
        self.learners = [self._pair(fleet, agent) for agent in range(AGENTS)]

    @staticmethod
    def _pair(fleet: Fleet, agent: int) -> tuple[Proxy, Proxy]:
        return two_in_a_row(
            lambda: fleet.learner_address(agent, "trajectories"),
            lambda: fleet.learner_address(agent, "parameters"),
        )

    @property
    def proxies(self) -> list[Proxy]:
        return [self.head, *(proxy for pair in self.learners for proxy in pair)]

    def close(self) -> None:
        for proxy in self.proxies:
            proxy.close()


@pytest.fixture
def network(fleet: Fleet) -> Iterator[Network]:
    with contextlib.closing(Network(fleet, seed=3)) as made:
        yield made


def set_up(fleet: Fleet, network: Network, words: tuple[str, ...], actors: int) -> None:
    """Everybody reaches everybody through the proxies; actors on "other hosts" first of all."""
    for number in range(actors):
        fleet.actor(f"actor-far-{number}", network.head.address)
    for agent in range(AGENTS):
        announce = network.learners[agent][0].address
        fleet.learner(agent, network.head.address, "--announce", announce)
    fleet.head(*words)


def check(fleet: Fleet, expected: dict) -> dict:
    assert fleet.wait("head") == 0, fleet.story()
    assert fleet.summary["parameters_sha256"] == expected["parameters_sha256"]
    assert books_close(fleet.summary), fleet.summary["ledger"]
    for name in fleet.processes:
        assert fleet.wait(name) == 0, f"{name}\n{fleet.story()}"
    return fleet.summary


def test_roles_of_their_own_over_a_slow_network_learn_the_same(
    undisturbed: dict, fleet: Fleet, network: Network
) -> None:
    for proxy in network.proxies:
        proxy.delay, proxy.jitter = 0.002, 0.01
    set_up(fleet, network, SHORT, actors=2)
    summary = check(fleet, undisturbed[SHORT])
    assert summary["ledger"]["lost"] == {}
    assert not list((fleet.run / "ledger").glob("*.cnt")), "an actor found the run directory"
    known = fleet.announced()
    assert set(known) == {"actor-far-0", "actor-far-1"}
    assert all(entry["closed"] for entry in known.values())
    assert sum(sum(entry["produced"]) for entry in known.values()) == summary["ledger"]["produced"]
    assert all(proxy.made for proxy in network.proxies), "somebody took another way"


@pytest.mark.slow
def test_cuts_and_torn_messages_change_nothing(
    undisturbed: dict, fleet: Fleet, network: Network
) -> None:
    set_up(fleet, network, LONG, actors=2)
    chaos, cuts = random.Random(17), 0
    fleet.until(lambda: fleet.version() >= 1, "the first iteration is trained")
    while fleet.processes["head"].poll() is None:
        proxy = chaos.choice(network.proxies)
        if chaos.random() < 0.5:
            cuts += proxy.cut()
        else:
            proxy.tear(chaos.choice((16, 200, 2000)))
        time.sleep(chaos.uniform(0.02, 0.25))
    summary = check(fleet, undisturbed[LONG])
    torn = sum(proxy.torn for proxy in network.proxies)
    print(f"cuts={cuts} torn={torn} ledger={summary['ledger']}")
    assert cuts >= 3
    assert torn >= 1
    assert summary["ledger"]["lost"] == {}


@pytest.mark.slow
def test_half_open_connections_are_noticed_and_replaced(
    undisturbed: dict, fleet: Fleet, network: Network
) -> None:
    set_up(fleet, network, LONG, actors=2)
    fleet.until(lambda: fleet.version() >= 1, "the first iteration is trained")
    stranded = sum(proxy.strand() for proxy in network.proxies)
    assert stranded >= 2 * (1 + 2 * AGENTS), "each actor has so many connections"
    summary = check(fleet, undisturbed[LONG])
    assert summary["ledger"]["lost"] == {}


@pytest.mark.slow
def test_a_partition_of_a_minute_only_takes_time(
    undisturbed: dict, fleet: Fleet, network: Network
) -> None:
    set_up(fleet, network, LONG, actors=2)
    fleet.until(lambda: fleet.version() >= 1, "the first iteration is trained")
    before = fleet.version()
    for proxy in network.proxies:
        proxy.partitioned = True
    time.sleep(25)  # more than any heartbeat's patience
    assert fleet.version() <= before + 2, "the network was not partitioned"
    for proxy in network.proxies:
        proxy.partitioned = False
    check(fleet, undisturbed[LONG])
    events = (fleet.run / "logs/head-0.log").read_text()
    assert "has been silent for" in events


@pytest.mark.slow
def test_roles_that_come_back_on_other_ports_are_found(
    undisturbed: dict, fleet: Fleet, network: Network
) -> None:
    address = network.head.address
    for number in range(2):
        fleet.actor(f"actor-far-{number}", address)
    for agent in range(AGENTS):
        fleet.learner(agent, address)
    fleet.head(*LONG)
    fleet.until(lambda: fleet.version() >= 1, "the first iteration is trained")
    before = [fleet.learner_address(1, what) for what in ("trajectories", "parameters")]
    fleet.kill("learner-1")
    fleet.learner(1, address)
    fleet.until(
        lambda: fleet.learner_address(1, "trajectories") != before[0], "learner 1 listens elsewhere"
    )
    assert fleet.learner_address(1, "parameters") != before[1]
    head = fleet.head_address()
    fleet.kill("head")
    fleet.head(*LONG)
    fleet.until(lambda: fleet.head_address() != head, "the head listens elsewhere")
    check(fleet, undisturbed[LONG])


@pytest.mark.slow
def test_names_and_seats_are_taken_once_and_leaving_is_orderly(
    fleet: Fleet, network: Network
) -> None:
    set_up(fleet, network, ENDLESS, actors=2)
    fleet.until(lambda: fleet.version() >= 1, "the first iteration is trained")
    fleet.until(
        lambda: fleet.announced()["actor-far-1"]["produced"][0] > 0, "actor-far-1 has played"
    )
    first = fleet.processes.pop("actor-far-0")
    fleet.actor("actor-far-0", network.head.address)
    assert first.wait(60) == 1
    assert "a newer incarnation of this name is known" in fleet.log("actor-far-0").read_text()
    address = network.head.address
    fleet.start(
        "twin",
        *("learner", "--connect", address, "--agent", "0", "--run-dir", str(fleet.run)),
    )
    assert fleet.wait("twin") == 1
    del fleet.processes["twin"]
    assert "another learner of agent 0 is at work" in fleet.log("twin").read_text()
    fleet.ask("actor-far-1", signal.SIGTERM)
    assert fleet.wait("actor-far-1") == 0, fleet.story()
    assert fleet.announced()["actor-far-1"]["closed"]
    fleet.ask("head", signal.SIGINT)
    assert fleet.wait("head") == 130, fleet.story()
    assert books_close(fleet.summary), fleet.summary["ledger"]
    assert set(fleet.summary["ledger"]["lost"]) <= {"host_lost"}


@pytest.mark.slow
def test_a_drained_run_is_continued_by_the_same_words(
    undisturbed: dict, fleet: Fleet, network: Network
) -> None:
    set_up(fleet, network, LONG, actors=1)
    fleet.until(lambda: fleet.version() >= 1, "the first iteration is trained")
    fleet.ask("head", signal.SIGINT)
    assert fleet.wait("head") == 130, fleet.story()
    assert fleet.summary["finished"] is False
    assert books_close(fleet.summary), fleet.summary["ledger"]
    for name in ("learner-0", "learner-1", "actor-far-0"):
        assert fleet.wait(name) == 0, fleet.story()
    set_up(fleet, network, LONG, actors=1)
    check(fleet, undisturbed[LONG])
