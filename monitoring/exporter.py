"""A small HTTP server in every process: `/metrics`, `/healthz`, and whatever else its role offers.

Each process serves itself, so that its numbers die with it and no collector stands in between.
Serves a registry of `monitoring.metrics`; scraped by Prometheus as `monitoring/prometheus.yml`
says, which learns the addresses from the head's `/sd` (`service_discovery`).
"""

import errno
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import prometheus_client

from monitoring.exposition import Registry
from monitoring.listener import Listener, Reply, plain

HOST = "DM2_METRICS_HOST"
"""Environment variable that names the interface on which the processes of a run serve metrics."""
_EVERYWHERE = "0.0.0.0"
_SOMEWHERE = ("192.0.2.1", 9)
"""An address kept for documents, which is never on this machine."""

Routes = Mapping[str, Callable[[], object]]
"""Path, for instance `/status`, to a function whose result is sent as JSON."""


class PortTakenError(OSError):
    """Another process listens on the port that was asked for."""


class ListenError(OSError):
    """The metrics cannot be served where they should be; the message names the place."""


@dataclass(frozen=True, slots=True)
class Target:
    """One process that can be scraped.

    address: host and port of its exporter.
    role: "actor", "learner" or "head".
    name: stable over restarts, for instance `actor-3`.
    """

    address: str
    role: str
    name: str
    run_id: str


def service_discovery(targets: Sequence[Target]) -> list[dict[str, Any]]:
    """What Prometheus' `http_sd` reads: one group per process that has an address."""
    return [
        {
            "targets": [target.address],
            "labels": {"run_id": target.run_id, "role": target.role, "name": target.name},
        }
        for target in targets
        if target.address
    ]


def reply(path: str, registry: prometheus_client.CollectorRegistry, routes: Routes) -> Reply:
    """The answer to `GET path`."""
    path = path.partition("?")[0]
    if path == "/metrics":
        text = (
            registry.text()
            if isinstance(registry, Registry)
            else prometheus_client.generate_latest(registry)
        )
        return Reply(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", text)
    if path == "/healthz":
        return plain(HTTPStatus.OK, "ok")
    if path not in routes:
        paths = " ".join(["/metrics", "/healthz", *routes])
        return plain(HTTPStatus.NOT_FOUND, f"nothing at {path}; there are {paths}")
    body = json.dumps(routes[path]()).encode()
    return Reply(HTTPStatus.OK, "application/json", body)


class Exporter:
    """Serves until `close`, in daemon threads that sleep unless a request is there."""

    def __init__(
        self,
        registry: prometheus_client.CollectorRegistry,
        address: str = "",
        port: int = 0,
        routes: Routes | None = None,
    ) -> None:
        """Listen.

        Args:
            registry: what `/metrics` shows.
            address: interface to listen on; `DM2_METRICS_HOST` unless given, else this machine
                only. Whoever can reach it can read everything that is served: nothing is encrypted
                and nobody is asked for a key.
            port: 0 takes a free one.
            routes: further paths.

        Raises:
            PortTakenError: somebody listens there already.
            ListenError: this machine has no such address, or it may not be used.
        """
        address = address or interface()
        try:
            self._listener = Listener(
                (address, port), lambda path: reply(path, registry, routes or {})
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ListenError(
                    error.errno,
                    f"the metrics cannot be served at {address} port {port} ({error.strerror}); "
                    "name an address of this machine, and a port above 1023",
                ) from error
            raise PortTakenError(
                error.errno,
                f"port {port} on {address} is taken by another process; "
                "choose another with --metrics-port, or 0 for any free one",
            ) from error

    @property
    def address(self) -> str:
        """Host and port where others reach it, for instance `127.0.0.1:9400`."""
        host, port = self._listener.address
        return f"{reachable(host)}:{port}"

    def close(self) -> None:
        """Stop listening and free the port; a second call does nothing."""
        self._listener.close()


def interface() -> str:
    """Where the processes of a run serve metrics: `DM2_METRICS_HOST`, else this machine only."""
    return os.environ.get(HOST, "") or "127.0.0.1"


def announced(port: int) -> str:
    """Host and port where others reach a process of this machine that serves metrics."""
    return f"{reachable(interface())}:{port}"


def reachable(host: str) -> str:
    """What others may call this machine, if it listens on `host`.

    Args:
        host: an interface; `0.0.0.0`, all of them, is no address that anybody could ask. For that
            it is the address with which this machine speaks to others, or 127.0.0.1 if it does to
            nobody.
    """
    if host != _EVERYWHERE:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_SOMEWHERE)  # sends nothing: it only asks which way it would go
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
