"""Which addresses may be used: this machine only, as long as nothing is encrypted.

Every mistake with an address becomes one sentence that names the address and the mend.
"""

import errno
import ipaddress
import os
import socket
from pathlib import Path

IPC_PATH_LIMIT = 107
"""Bytes of a Unix socket's path; the kernel's limit."""
_LOOPBACK_NAMES = frozenset({"localhost", "lo"})


class AddressError(ValueError):
    """An address that cannot be used; the message names it and the mend."""


def check_bind(address: str) -> None:
    """Check an address before listening on it.

    Raises:
        AddressError: not reachable from this machine alone, malformed, or already served.
    """
    if address.startswith("ipc://"):
        _check_ipc_bind(address)
        return
    if not is_loopback(address):
        raise AddressError(
            f"{address} could be reached from other machines and nothing is encrypted; "
            "use ipc://PATH or tcp://127.0.0.1:PORT"
        )


def check_connect(address: str) -> None:
    """Check the form of an address before connecting to it.

    Raises:
        AddressError: the form is wrong.
    """
    if address.startswith("ipc://"):
        _check_ipc_path(address)
    else:
        _split_tcp(address)


def is_loopback(address: str) -> bool:
    """Whether a `tcp://HOST:PORT` address stays on this machine.

    Raises:
        AddressError: the form is wrong.
    """
    host, _ = _split_tcp(address)
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def explain(address: str, code: int) -> AddressError:
    """Turn the operating system's refusal of an address into a sentence."""
    match code:
        case errno.EADDRINUSE:
            text = "is taken by another process; stop that process or choose another port"
        case errno.ENODEV | errno.EADDRNOTAVAIL:
            text = "names an interface that this machine does not have; use 127.0.0.1"
        case errno.EACCES:
            text = "may not be used by this user; choose a port above 1023 or another directory"
        case _:
            text = f"cannot be used: {os.strerror(code)}"
    return AddressError(f"{address} {text}")


def _split_tcp(address: str) -> tuple[str, int]:
    scheme, _, rest = address.partition("://")
    host, colon, port = rest.rpartition(":")
    if scheme != "tcp" or not colon or not host:
        raise AddressError(f"{address!r} is not an address; use ipc://PATH or tcp://HOST:PORT")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise AddressError(f"{address} has no port between 0 and 65535")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _check_ipc_path(address: str) -> Path:
    path = address.removeprefix("ipc://")
    if not path:
        raise AddressError("ipc:// needs a path; use ipc://PATH")
    size = len(os.fsencode(path))
    if size > IPC_PATH_LIMIT:
        raise AddressError(
            f"{address} has a path of {size} bytes and Unix sockets allow {IPC_PATH_LIMIT}; "
            "choose a shorter directory"
        )
    return Path(path)


def _check_ipc_bind(address: str) -> None:
    path = _check_ipc_path(address)
    if not path.parent.is_dir():
        raise AddressError(f"{address}: the directory {path.parent} does not exist; create it")
    # NOTE: ZeroMQ deletes whatever lies at the path and binds. That is right for the socket of a
    # killed process and wrong for a living one, which would go deaf; so knock first.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise AddressError(
        f"{address} is served by another process; stop that process or choose another path"
    )
