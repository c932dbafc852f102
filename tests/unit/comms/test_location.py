import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.comms import location
from dm2_dist.comms.location import announced, default_listen, own_host, split, two_ports
from dm2_dist.comms.security import AddressError

HOSTS = st.sampled_from(["127.0.0.1", "node-7.cluster", "10.1.2.3", "[::1]", "[fe80::1]"])


@given(host=HOSTS, port=st.integers(1, 65534))
def test_a_learner_takes_a_port_and_the_next(host: str, port: int) -> None:
    first, second = two_ports(f"tcp://{host}:{port}")
    assert split(first) == (host, port)
    assert split(second) == (host, port + 1)


def test_free_ports_stay_free_and_there_is_one_after_the_last() -> None:
    assert two_ports("tcp://127.0.0.1:0") == ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    assert two_ports("ipc:///tmp/l") == ("ipc:///tmp/l-t", "ipc:///tmp/l-p")
    with pytest.raises(AddressError, match="tcp://h:65535: a learner needs the port after it"):
        two_ports("tcp://h:65535")


@given(host=HOSTS, port=st.integers(1, 65535), bound=st.integers(1, 65535))
def test_others_are_told_what_they_can_reach(host: str, port: int, bound: int) -> None:
    here = f"tcp://0.0.0.0:{bound}"
    assert announced(here, f"tcp://{host}:{port}") == f"tcp://{host}:{port}"
    assert announced(here, f"tcp://{host}:0") == f"tcp://{host}:{bound}"
    assert announced(f"tcp://{host}:{bound}", "") == f"tcp://{host}:{bound}"


@pytest.mark.parametrize("bound", ["tcp://0.0.0.0:5", "tcp://[::]:5", "tcp://*:5"])
def test_nobody_is_told_to_connect_to_all_interfaces(bound: str) -> None:
    with pytest.raises(AddressError, match=r"stands for all interfaces.*--announce"):
        announced(bound, "")
    with pytest.raises(AddressError, match="cannot be connected to"):
        announced("tcp://127.0.0.1:5", bound)


def test_a_unix_socket_is_announced_as_it_is() -> None:
    assert announced("ipc:///tmp/l-t", "") == "ipc:///tmp/l-t"


@pytest.mark.parametrize("wrong", ["", "host:1", "tcp://host", "tcp://:1", "tcp://h:99999"])
def test_wrong_addresses_are_one_sentence(wrong: str) -> None:
    with pytest.raises(AddressError):
        two_ports(wrong)


def test_a_learner_stays_on_this_machine_if_the_head_does() -> None:
    assert default_listen("tcp://127.0.0.1:5555") == "tcp://127.0.0.1:0"
    assert default_listen("tcp://localhost:5555") == "tcp://127.0.0.1:0"
    assert default_listen("ipc:///tmp/head") == "tcp://127.0.0.1:0"


def test_a_learner_listens_on_the_interface_that_leads_to_the_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(location, "own_host", lambda head: asked.append(head) or "10.9.8.7")
    assert default_listen("tcp://10.1.1.1:5555") == "tcp://10.9.8.7:0"
    assert asked == ["tcp://10.1.1.1:5555"]


def test_the_way_to_the_head_names_our_own_address() -> None:
    assert own_host("tcp://127.0.0.1:5555") == "127.0.0.1"
    if socket.has_ipv6:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            return
        assert own_host("tcp://[::1]:5555") == "[::1]"


def test_a_host_that_nobody_knows_is_one_sentence() -> None:
    with pytest.raises(AddressError, match="no interface of this host leads to tcp://nowhere"):
        own_host("tcp://nowhere.invalid:5555")
