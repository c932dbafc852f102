import errno

import pytest

from dm2_dist.comms import security
from dm2_dist.comms.security import AddressError


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:0",
        "tcp://127.8.8.8:5555",
        "tcp://localhost:1",
        "tcp://lo:1",
        "tcp://[::1]:5",
    ],
)
def test_loopback_may_be_bound(address):
    security.check_bind(address)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://10.0.0.1:1",
        "tcp://eth0:1",
        "tcp://[::]:5",
        "tcp://head:5",
    ],
)
def test_whatever_others_can_reach_may_not(address):
    with pytest.raises(AddressError, match="use ipc://PATH or tcp://127"):
        security.check_bind(address)
    security.check_connect(address)


@pytest.mark.parametrize(
    "address",
    ["", "head:5555", "udp://127.0.0.1:5", "inproc://x", "tcp://127.0.0.1", "tcp://:5",
     "tcp://127.0.0.1:x", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:-1", "tcp://127.0.0.1:²", "ipc://"],
)  # fmt: skip
def test_malformed_addresses(address):
    with pytest.raises(AddressError):
        security.check_bind(address)
    with pytest.raises(AddressError):
        security.check_connect(address)


def test_ipc_paths(tmp_path):
    security.check_bind(f"ipc://{tmp_path}/a.sock")
    with pytest.raises(AddressError, match="does not exist; create it"):
        security.check_bind(f"ipc://{tmp_path}/missing/a.sock")
    for check in (security.check_bind, security.check_connect):
        with pytest.raises(AddressError, match="108 bytes and Unix sockets allow 107"):
            check("ipc:///" + "é" * 53 + "x")


def test_refusals_of_the_system_are_explained():
    assert "choose another port" in str(security.explain("tcp://lo:1", errno.EADDRINUSE))
    assert "does not have" in str(security.explain("tcp://127.0.0.1:1", errno.ENODEV))
    assert "port above 1023" in str(security.explain("tcp://127.0.0.1:1", errno.EACCES))
    assert "tcp://lo:1 cannot be used" in str(security.explain("tcp://lo:1", errno.EIO))
