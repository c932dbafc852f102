"""Where a process listens, and where others find it: two addresses that need not be the same.

A process binds what it is told and announces what others can reach, for instance the outer side of
a port forwarding. Pure, apart from `own_host`. Used by `learners.main` and `launch.roles`.
"""

import ipaddress
import socket

from dm2_dist.comms import security
from dm2_dist.comms.security import AddressError

_LAST_PORT = 65535
_ANY_PORT = 9  # nothing is sent: the routing table is asked which of our addresses would be used


def split(address: str) -> tuple[str, int]:
    """Host (an IPv6 one with its brackets) and port of `tcp://HOST:PORT`.

    Raises:
        AddressError: the form is wrong.
    """
    security.check_connect(address)
    if not address.startswith("tcp://"):
        raise AddressError(f"{address} is not a network address; use tcp://HOST:PORT")
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return host, int(port)


def two_ports(address: str) -> tuple[str, str]:
    """A learner's addresses, for trajectories and for parameters: the port given, and the next.

    Port 0 stands for any free port, twice.

    Raises:
        AddressError: the form is wrong, or there is no next port.
    """
    if address.startswith("ipc://"):
        return f"{address}-t", f"{address}-p"
    host, port = split(address)
    if port == _LAST_PORT:
        raise AddressError(f"{address}: a learner needs the port after it, too; choose a lower one")
    return address, f"tcp://{host}:{port + 1 if port else 0}"


def announced(bound: str, wanted: str) -> str:
    """The address that others are told.

    Args:
        bound: where the process listens, with the real port.
        wanted: what to announce instead; port 0 stands for the bound one; "" for `bound` itself.

    Raises:
        AddressError: the form is wrong, or nobody could connect to the address.
    """
    if not wanted:
        if bound.startswith("tcp://") and _is_wildcard(split(bound)[0]):
            raise AddressError(
                f"{bound} stands for all interfaces, and no other host can connect to that; "
                "say with --announce tcp://HOST:PORT where this one is found"
            )
        return bound
    host, port = split(wanted)
    if _is_wildcard(host):
        raise AddressError(f"{wanted} cannot be connected to; announce the name of a host")
    return f"tcp://{host}:{port or split(bound)[1]}"


def default_listen(head: str) -> str:
    """Where a learner listens unless told: any free port of the interface that leads to the head.

    Raises:
        AddressError: the head's address has the wrong form, or no interface leads there.
    """
    if head.startswith("ipc://") or security.is_loopback(head):
        return "tcp://127.0.0.1:0"
    return f"tcp://{own_host(head)}:0"


def own_host(head: str) -> str:
    """The address of this host on the way to the head, IPv6 in brackets.

    Raises:
        AddressError: no interface leads there, or the host's name is unknown.
    """
    host = split(head)[0].removeprefix("[").removesuffix("]")
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            found = str(probe.getsockname()[0])
    except OSError as error:
        raise AddressError(
            f"no interface of this host leads to {head} ({error.strerror}); "
            "check the address, or say with --listen where to listen"
        ) from error
    return f"[{found}]" if ":" in found else found


def _is_wildcard(host: str) -> bool:
    plain = host.removeprefix("[").removesuffix("]")
    if plain == "*":
        return True
    try:
        return ipaddress.ip_address(plain).is_unspecified
    except ValueError:
        return False
