"""Addresses that a user gave: tried, refused with a reason, and left as they were."""

import socket

import pytest

from dm2_dist.comms.security import AddressError
from launch import addresses


def test_a_free_address_is_free_afterwards() -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    for _ in range(2):
        addresses.check_listen(f"tcp://127.0.0.1:{port}", encrypted=False)
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "*", "0.0.0.0"])
def test_a_taken_port_is_refused(host: str) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        address = f"tcp://{host}:{taken.getsockname()[1]}"
        with pytest.raises(AddressError, match="is taken by another process"):
            addresses.check_listen(address, encrypted=True)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://203.0.113.7:5555", "an interface that this machine does not have"),
        ("here", "is not an address"),
        ("tcp://127.0.0.1", "is not an address"),
        ("tcp://127.0.0.1:x", "has no port"),
    ],
)
def test_an_address_that_cannot_be_listened_on_is_refused(address: str, said: str) -> None:
    with pytest.raises(AddressError, match=said):
        addresses.check_listen(address, encrypted=True)


def test_others_get_in_only_with_keys() -> None:
    with pytest.raises(AddressError, match="nothing is encrypted"):
        addresses.check_listen("tcp://0.0.0.0:0", encrypted=False)
    addresses.check_listen("tcp://0.0.0.0:0", encrypted=True)


def test_an_interface_that_only_the_library_knows_is_left_to_it() -> None:
    addresses.check_listen("tcp://no-such-host.invalid:5555", encrypted=True)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("here", "is not an address"),
        ("tcp://127.0.0.1:0", "names no port"),
        ("tcp://elsewhere:5555", "nothing is encrypted"),
    ],
)
def test_an_address_that_cannot_be_connected_to_is_refused(address: str, said: str) -> None:
    with pytest.raises(AddressError, match=said):
        addresses.check_connect(address, encrypted=False)


def test_what_can_be_connected_to_is_not_asked(tmp_path) -> None:
    addresses.check_connect("tcp://127.0.0.1:9", encrypted=False)
    addresses.check_connect("tcp://elsewhere:5555", encrypted=True)
    addresses.check_connect(f"ipc://{tmp_path}/head", encrypted=False)
