"""The program itself: started, spoken to over its socket, left, and made to fail."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dm2_dist.envs.sc2_standin import NOTICE, fault, protocol, server, tree
from dm2_dist.envs.sc2_standin.__main__ import parse
from dm2_dist.envs.sc2_standin.protocol import StandInError

pytest.importorskip("s2clientprotocol", reason="the extra [sc2] is not installed")
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("compiled_simulator")]

sc = protocol.load().sc2api
SECONDS = 60.0
"""Longest wait for anything; a crowded machine starts programs slowly."""


class Client:
    """A client of a few lines, apart from the server's own code."""

    def __init__(self, port: int, *, path: str = "/sc2api") -> None:
        self.peer = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        head = f"GET {path} HTTP/1.1\r\nHost: here\r\nSec-WebSocket-Key: x\r\n\r\n"
        self.peer.sendall(head.encode())
        self.status = int(self._line().split(" ")[1])
        while self._line():
            pass
        self.number = 0

    def _line(self) -> str:
        line = b""
        while not line.endswith(b"\r\n"):
            piece = self.peer.recv(1)
            if not piece:
                raise ConnectionError("the server left")
            line += piece
        return line.decode().strip()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.peer.recv(size - len(data))
            if not piece:
                raise ConnectionError("the server left")
            data += piece
        return data

    def ask_bytes(self, payload: bytes) -> bytes:
        assert len(payload) < 126
        masked = bytes(byte ^ b"abcd"[i % 4] for i, byte in enumerate(payload))
        self.peer.sendall(bytes([0x81, 0x80 | len(payload)]) + b"abcd" + masked)
        kind, size = self._exactly(2)
        assert kind == 0x82, "binary frames only"
        if size == 126:
            (size,) = struct.unpack(">H", self._exactly(2))
        return self._exactly(size)

    def ask(self, **request: Any) -> Any:
        self.number += 1
        message = sc.Request(id=self.number, **request)
        return sc.Response.FromString(self.ask_bytes(message.SerializeToString()))

    def ping(self) -> Any:
        return self.ask(ping=sc.RequestPing())

    def close(self) -> None:
        self.peer.close()


class Program:
    """A running stand-in."""

    def __init__(self, executable: Path, faults: str, once: str, log: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [executable, "-listen", "127.0.0.1", "-port", str(self.port), "-dataDir", "x/"],
                env={**os.environ, fault.FAULTS: faults, fault.ONCE: once},
                stdout=output,
                stderr=output,
            )

    def connect(self, **options: Any) -> Client:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                return Client(self.port, **options)
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def end(self) -> int:
        return self.process.wait(SECONDS)


Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start stand-ins; none outlives the test."""
    tree.install(tmp_path / "sc2")
    executable = tmp_path / "sc2" / "Versions" / "Base75689" / "SC2_x64"
    programs: list[Program] = []

    def run(faults: str = "", once: Path | None = None) -> Program:
        log = tmp_path / f"log-{len(programs)}"
        programs.append(Program(executable, faults, str(once or ""), log))
        return programs[-1]

    yield run
    for program in programs:
        program.process.kill()
        program.process.wait(SECONDS)


def test_it_says_what_it_is_and_ends_with_its_client(start: Start) -> None:
    program = start()
    client = program.connect()
    assert client.status == 101
    assert client.ping().status == sc.launched
    client.close()
    assert program.end() == 0
    assert NOTICE in program.log.read_text()


def test_it_ends_when_it_is_told_to(start: Start) -> None:
    asked, terminated = start(), start()
    client = asked.connect()
    assert client.ask(quit=sc.RequestQuit()).status == sc.quit
    assert asked.end() == 0
    client.close()
    waiting = terminated.connect()
    waiting.ping()
    terminated.process.terminate()
    assert terminated.end() == -signal.SIGTERM
    waiting.close()


def test_strangers_do_not_end_it(start: Start) -> None:
    program = start()
    stranger = program.connect(path="/other")
    assert stranger.status == 404
    stranger.close()
    socket.create_connection(("127.0.0.1", program.port), timeout=SECONDS).close()
    client = program.connect()
    assert client.status == 101
    client.close()


def test_a_port_that_is_taken_is_named(start: Start) -> None:
    program = start()
    client = program.connect()
    # The door closes behind the first client; take its port, as another program would.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StandInError, match=f"port {port} of 127.0.0.1 cannot be listened on"):
            server.listen("127.0.0.1", port).close()
    client.close()


def test_a_crash_has_the_status_of_a_crash(start: Start) -> None:
    program = start("crash_at=3")
    client = program.connect()
    client.ping()
    client.ping()
    with pytest.raises(ConnectionError):
        client.ping()
    client.close()
    assert program.end() == server.CRASH_STATUS
    assert "a crash on order at request 3" in program.log.read_text()


def test_a_fault_that_struck_once_leaves_the_next_launch_alone(
    start: Start, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    first = start("exit_at_start", once)
    assert first.end() == 1
    assert "on order" in first.log.read_text()
    client = start("exit_at_start", once).connect()
    client.ping()
    client.close()


@pytest.mark.parametrize("name", ["hang_at", "close_at"])
def test_a_hang_is_silent_and_alive(start: Start, name: str) -> None:
    program = start(f"{name}=2")
    client = program.connect()
    client.ping()
    client.peer.settimeout(0.3)
    with pytest.raises((TimeoutError, ConnectionError)):
        client.ping()
    assert program.process.poll() is None
    client.close()


def test_garbage_is_no_message(start: Start) -> None:
    client = start("garbage_at=2").connect()
    client.ping()
    answer = client.ask_bytes(sc.Request(ping=sc.RequestPing()).SerializeToString())
    with pytest.raises(Exception, match="rror"):
        sc.Response.FromString(answer)
    assert client.ping().status == sc.launched
    client.close()


def test_it_can_listen_late_and_be_found_late(start: Start) -> None:
    program = start("delay_listen=0.2,not_found=0.3")
    statuses = []
    deadline = time.monotonic() + SECONDS
    while not statuses or statuses[-1] != 101:
        assert time.monotonic() < deadline
        client = program.connect()
        statuses.append(client.status)
        client.close()
        time.sleep(0.02)
    assert statuses[0] == 404


def test_a_stubborn_one_outlives_its_client_and_sigterm(start: Start) -> None:
    program = start("stubborn")
    client = program.connect()
    client.ping()
    client.close()
    program.process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        program.process.wait(0.5)
    program.process.kill()
    assert program.end() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "name a port"),
        (["-port", "70000"], "name a port"),
        (["-port", "many"], "-port must be followed by a number"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(words: list[str], reason: str) -> None:
    with pytest.raises(StandInError, match=reason):
        parse(words)


def test_the_arguments_of_the_game_are_taken() -> None:
    words = "--build 69232 -listen ::1 -port 5000 -dataDir a/ -tempDir b/ -verbose -dataVersion AB"
    told = parse(words.split())
    assert (told.host, told.port, told.build) == ("::1", 5000, 69232)


def test_a_wrong_order_for_faults_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dm2_dist.envs.sc2_standin", "-port", "5000"],
        env={**os.environ, fault.FAULTS: "explode"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert "knows no fault 'explode'" in done.stderr
    assert "Traceback" not in done.stderr
