"""A small HTTP server in every process: `/metrics`, `/healthz`, and whatever else its role offers.

Each process serves itself, so that its numbers die with it and no collector stands in between.
Serves a registry of `monitoring.metrics`; scraped by Prometheus as `monitoring/prometheus.yml`
says, which learns the addresses from the head's `/sd` (`service_discovery`).
"""

import errno
import json
import logging
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import prometheus_client

_log = logging.getLogger(__name__)

HOST = "DM2_METRICS_HOST"
"""Environment variable that names the interface on which the processes of a run serve metrics."""
CONNECTION_SECONDS = 10.0
"""A client that says nothing for so long is cut off; it would keep a thread."""
REQUESTS_AT_ONCE = 16
"""Connections beyond these are closed at once: each keeps a thread."""

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


class Reply(NamedTuple):
    """An HTTP answer before it is sent."""

    status: HTTPStatus
    content_type: str
    body: bytes


def reply(path: str, registry: prometheus_client.CollectorRegistry, routes: Routes) -> Reply:
    """The answer to `GET path`."""
    path = path.partition("?")[0]
    if path == "/metrics":
        text = prometheus_client.generate_latest(registry)
        return Reply(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", text)
    if path == "/healthz":
        return _text(HTTPStatus.OK, "ok")
    if path not in routes:
        paths = " ".join(["/metrics", "/healthz", *routes])
        return _text(HTTPStatus.NOT_FOUND, f"nothing at {path}; there are {paths}")
    body = json.dumps(routes[path]()).encode()
    return Reply(HTTPStatus.OK, "application/json", body)


def _text(status: HTTPStatus, text: str) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", f"{text}\n".encode())


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
        address = address or os.environ.get(HOST, "") or "127.0.0.1"
        try:
            self._server = _Server((address, port), registry, routes or {})
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
        self._thread = threading.Thread(target=self._server.serve, name="exporter", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port, for instance `127.0.0.1:9400`."""
        return f"{self._server.server_name}:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening and free the port; a second call does nothing."""
        if not self._thread.is_alive():
            return
        self._server.stop()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(
        self,
        address: tuple[str, int],
        registry: prometheus_client.CollectorRegistry,
        routes: Routes,
    ) -> None:
        self.registry = registry
        self.routes = routes
        self._stopping = False
        self._free = threading.BoundedSemaphore(REQUESTS_AT_ONCE)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The inherited method asks the name service who we are, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()

    def serve(self) -> None:
        """Wait for connections without polling: `serve_forever` would wake up twice a second."""
        while not self._stopping:
            self.handle_request()

    def stop(self) -> None:
        """Wake the serving thread with a connection of our own; it then sees that it is over."""
        self._stopping = True
        address = (self.server_name, self.server_port)
        socket.create_connection(address, CONNECTION_SECONDS).close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, as long as there are not too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One request; its place is free again afterwards."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is its own business; anything else is a bug and is logged."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            _log.exception("exporter request failed client=%s", client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CONNECTION_SECONDS

    def do_GET(self) -> None:
        """Answer with `reply`; a route that fails is answered before its error is logged."""
        try:
            answer = reply(self.path, self.server.registry, self.server.routes)
        except Exception as error:
            self._send(_text(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}"))
            raise
        self._send(answer)

    def _send(self, answer: Reply) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are no news."""
