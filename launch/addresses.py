"""Addresses that a user gave, tried before anything is written or waited for.

Used by `launch.roles`. What may listen where is decided in `dm2_dist.comms.security`.
"""

import errno
import socket

from dm2_dist.comms import location, security
from dm2_dist.comms.security import AddressError


def check_listen(address: str, *, encrypted: bool) -> None:
    """Try to listen at an address, and leave it at once.

    An interface's name is left to the one who listens there: only ZeroMQ knows those.

    Args:
        address: `tcp://HOST:PORT` or `ipc://PATH`.
        encrypted: whether keys are in use.

    Raises:
        AddressError: malformed, open to others without keys, taken, or not of this machine.
    """
    security.check_bind(address, encrypted=encrypted)
    if address.startswith("ipc://"):
        return
    host, port = location.split(address)
    plain = None if host == "*" else host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(plain, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return
    family, kind, protocol, _, target = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(target)
            probe.listen()
        except OSError as error:
            raise security.explain(address, error.errno or errno.EINVAL) from error


def check_connect(address: str, *, encrypted: bool) -> None:
    """Check an address that will be connected to; nothing is sent there.

    Args:
        address: `tcp://HOST:PORT` or `ipc://PATH`.
        encrypted: whether keys are in use.

    Raises:
        AddressError: malformed, without a port, or on another machine while nothing is encrypted.
    """
    security.check_connect(address)
    if address.startswith("ipc://"):
        return
    if location.split(address)[1] == 0:
        raise AddressError(f"{address} names no port; give the one that the head tells")
    security.check_remote(address, encrypted=encrypted)
