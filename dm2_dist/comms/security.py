"""Which addresses may be used, what each role may say, and why a connection does not come about.

Without keys only this machine is reachable. Every mistake becomes one sentence that names the
address and the mend.
"""

import errno
import ipaddress
import os
import socket
from pathlib import Path

import zmq

from dm2_dist.comms import messages
from dm2_dist.comms.keys import Role
from dm2_dist.comms.messages import Message

IPC_PATH_LIMIT = 107
"""Bytes of a Unix socket's path; the kernel's limit."""
_LOOPBACK_NAMES = frozenset({"localhost", "lo"})


_MECHANISM_MISMATCH = 0x11000002
"""ZeroMQ's code for: one side uses keys and the other does not."""

_MAY_SAY: dict[str, tuple[type[Message], ...]] = {
    Role.ACTOR: (
        messages.Hello, messages.ActorBeat, messages.Want, messages.Returned, messages.Result,
        messages.Bye, messages.Open, messages.Trajectory, messages.Get,
    ),
    Role.LEARNER: (messages.Hello, messages.LearnerBeat, messages.Bye),
    Role.LAUNCHER: (messages.Command, messages.Exited),
}  # fmt: skip
"""Role -> what it may say to a process that listens; the head connects to nobody."""


class AddressError(ValueError):
    """An address that cannot be used; the message names it and the mend."""


class ForbiddenError(Exception):
    """A message that its sender's key does not entitle it to."""


def check_bind(address: str, *, encrypted: bool = False) -> None:
    """Check an address before listening on it.

    Args:
        address: `ipc://PATH` or `tcp://HOST:PORT`.
        encrypted: whether keys are in use, so that others may reach it.

    Raises:
        AddressError: not reachable from this machine alone, malformed, or already served.
    """
    if address.startswith("ipc://"):
        _check_ipc_bind(address)
        return
    if not is_loopback(address) and not encrypted:
        raise AddressError(
            f"{address} could be reached from other machines and nothing is encrypted; "
            "use ipc://PATH or tcp://127.0.0.1:PORT, or make keys with `dm2 keys init DIR` and "
            "pass --keys DIR"
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


def check_remote(address: str, *, encrypted: bool) -> None:
    """Refuse to speak in the clear with another machine.

    Raises:
        AddressError: the address leaves this machine and no keys are in use.
    """
    if not encrypted and not is_loopback(address):
        raise AddressError(
            f"{address} is on another machine and nothing is encrypted; copy this role's keys from "
            "the host where `dm2 keys init` made them and pass --keys DIR"
        )


def check_role(role: str | None, message: Message) -> None:
    """Refuse what the sender's key does not entitle it to say.

    Args:
        role: what it proved to be; None where nothing is authenticated: then all is allowed.
        message: what it said to a listening process.

    Raises:
        ForbiddenError: another role's message, another role in HELLO, or another role's name.
    """
    if role is None:
        return
    if not isinstance(message, _MAY_SAY.get(role, ())):
        raise ForbiddenError(f"a key of role {role} does not entitle to {message.kind!r}")
    if isinstance(message, messages.Hello) and message.role != role:
        raise ForbiddenError(f"a key of role {role} does not entitle to the role {message.role!r}")
    source = getattr(message, "source", None)
    if not isinstance(source, messages.Source):
        return
    if not source.name.startswith(f"{role}-"):
        raise ForbiddenError(f"a key of role {role} does not entitle to the name {source.name!r}")
    if isinstance(message, messages.LearnerBeat) and source.name != f"learner-{message.agent}":
        raise ForbiddenError(f"{source.name} does not speak for agent {message.agent}")


def explain_handshake(address: str, event: int, value: int, *, encrypted: bool) -> str:
    """Why a listening process did not become our peer, and the mend; "" if it may yet.

    Args:
        address: where we connect to.
        event: ZeroMQ's event of the monitor.
        value: the event's value.
        encrypted: whether we use keys.
    """
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return (
            f"{address} refuses this process's key; compare `dm2 keys show` here and there, and "
            "copy the keys anew"
        )
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == _MECHANISM_MISMATCH:
        if encrypted:
            return (
                f"{address} speaks without keys and this process has some; give both sides "
                "--keys DIR, or neither"
            )
        return f"{address} demands a key and this process has none; pass --keys DIR"
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return f"{address} does not speak dm2's protocol; check host and port"
    return ""


def explain_silence(address: str, *, encrypted: bool) -> str:
    """Why a peer that can be reached never completes a greeting."""
    if encrypted:
        return (
            f"{address} breaks off every greeting: nothing listens behind it, or it does not have "
            "the key that our list names for its role; copy allowed.json from its host"
        )
    return (
        f"{address} breaks off every greeting: nothing listens behind it, or it demands keys; "
        "check host and port, and pass --keys DIR if the run uses keys"
    )


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
