"""One game from the actor's side: a worker process that holds it, a deadline for every answer.

A `Game` is started once and ends once: by `close`, or by the first answer that does not come or is
bad. Owned by `dm2_dist.envs.smac`, which starts the next one.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO, Self

import psutil

from dm2_dist.envs.interface import GameLost, NoGameError
from dm2_dist.envs.starcraft import launching, orphan
from dm2_dist.envs.starcraft.channel import (
    Channel,
    Close,
    Closed,
    Failed,
    Frame,
    Late,
    Launch,
    Request,
    Reset,
    Step,
)
from dm2_dist.envs.starcraft.site import Site
from dm2_dist.sections import GamesConfig

_LOG = logging.getLogger(__name__)
_GRACE_SECONDS = 5.0
"""Beyond the client's own time-out, so that the client can say what it waited for; and for an
orderly end."""
_TAIL_BYTES = 4096
_TAIL_LINES = 20
_LOG_BYTES = 2**20


class Game:
    """A running game.

    first: the first battle as it stood when the game had started.
    start_seconds: how long that took, the wait for a turn not counted.
    """

    first: Frame
    start_seconds: float

    def __init__(self, games: GamesConfig, site: Site) -> None:
        """Prepare; `start` makes one that runs."""
        self._games, self._site, self._ended = games, site, False
        self._port = launching.Port()
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        try:
            self._token = orphan.record(site.own)
            self._worker = self._spawn(theirs)
        except OSError as error:
            self._channel.close()
            self._port.release()
            raise GameLost(f"a game cannot be started in {site.own}: {error}") from error
        finally:
            theirs.close()

    @classmethod
    def start(cls, map_name: str, seed: int, games: GamesConfig, site: Site) -> Self:
        """Start a game when it is our turn, and wait until its first battle stands.

        Args:
            map_name: SMAC's name of the map.
            seed: handed to the game; 32 bits of it count.
            games: how long things may take, and which version plays.
            site: where it keeps its files.

        Raises:
            GameLost: this start failed; another one may not.
            NoGameError: another one would fail too.
        """
        with launching.turn(site.shared, games.concurrent_launches, site.on_wait):
            began = time.monotonic()
            game = cls(games, site)
            launch = Launch(
                map_name=map_name,
                version=games.version,
                seed=seed % 2**31,
                port=game._port.number,
                start_seconds=games.start_seconds,
                answer_seconds=games.answer_seconds,
            )
            game.first = game._ask(launch, games.start_seconds)
            game.start_seconds = time.monotonic() - began
        _LOG.info(
            "game_started pid=%s port=%s seconds=%.1f",
            game._worker.pid,
            game._port.number,
            game.start_seconds,
        )
        return game

    def reset(self) -> Frame:
        """Start the next battle.

        Raises:
            GameLost: the game is gone.
        """
        return self._ask(Reset(), self._games.answer_seconds + _GRACE_SECONDS)

    def step(self, actions: tuple[int, ...]) -> Frame:
        """Play one environment step; one legal action per agent.

        Raises:
            GameLost: the game is gone.
        """
        return self._ask(Step(actions), self._games.answer_seconds + _GRACE_SECONDS)

    def memory_bytes(self) -> int:
        """Resident memory of the game, without its client; 0 if it is gone."""
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self._worker.pid).children(recursive=True):
                total += process.memory_info().rss
        return total

    def close(self) -> None:
        """End the game in order; what does not end within seconds is killed."""
        try:
            self._channel.send(Close())
            self._worker.wait(_GRACE_SECONDS)
        except (Closed, subprocess.TimeoutExpired) as error:
            _LOG.warning("game_killed pid=%s reason=%r", self._worker.pid, error)
        self.end()

    def _ask(self, request: Request, seconds: float) -> Frame:
        """One request and its answer; whatever goes wrong, also on our side, ends the game."""
        try:
            self._channel.send(request)
            deadline = time.monotonic() + seconds
            reply = self._channel.reply(deadline, self._site.on_wait)
        except Late:
            raise self._lost(f"the game has not answered for {seconds:.0f} s") from None
        except Closed as error:
            raise self._lost(self._last_words(error)) from None
        except BaseException:
            self.end()
            raise
        if isinstance(reply, Failed):
            lost = self._lost(reply.reason)
            raise NoGameError(reply.reason) if reply.hopeless else lost
        return reply

    def _last_words(self, error: Closed) -> str:
        try:
            code = self._worker.wait(1.0)
        except subprocess.TimeoutExpired:
            return f"the game's worker is out of order: {error}"
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the game's worker ended ({name})"

    def _lost(self, reason: str) -> GameLost:
        self.end()
        return GameLost(reason, tail(self._site))

    def _spawn(self, end: socket.socket) -> subprocess.Popen[bytes]:
        """Start the worker as the leader of a process group that holds the game too."""
        temporary = self._site.own / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, orphan.TOKEN: self._token, "TMPDIR": str(temporary)}
        words = [str(end.fileno()), str(os.getpid())]
        with _open_log(self._site.log) as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "dm2_dist.envs.starcraft.worker", *words],
                pass_fds=[end.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self) -> None:
        """Kill whatever there is, and leave nothing behind; once is enough, twice is harmless."""
        if self._ended:
            return
        self._ended = True
        if self._worker.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._worker.pid, signal.SIGKILL)
            self._worker.wait()
        orphan.kill([self._token])
        orphan.forget(self._site.own)
        self._channel.close()
        self._port.release()


def _open_log(log: Path) -> BinaryIO:
    """The log of a site's games, with a line that begins a new one; too long, it starts anew."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
    file = log.open("ab")
    file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} a game starts ---\n".encode())
    file.flush()
    return file


def tail(site: Site) -> str:
    """The last lines that games of this site printed."""
    if not site.log.exists():
        return ""
    with site.log.open("rb") as file:
        file.seek(max(site.log.stat().st_size - _TAIL_BYTES, 0))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])
