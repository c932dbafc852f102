"""The last check: one battle, played through the same classes as in a run, in a process of its own.

That process is the leader of a session, so that whatever hangs in it can be ended with it.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dm2_dist.envs.starcraft.installation_client import with_our_code
from dm2_dist.envs.starcraft.installation_finding import Finding, fault, ok
from dm2_dist.sections import GamesConfig

_PROBE = (
    "import sys; from dm2_dist.envs.starcraft import installation_episode as p; p.tell(sys.argv)"
)
_LEAVE_SECONDS = 10.0
_SEED = 1


@dataclass(frozen=True, slots=True)
class Played:
    """What one battle of random legal play told.

    Attributes:
        env_steps: its length.
        steps_per_second: pace of the battle, without the start.
        start_seconds: from nothing to a battle that stands.
        game_megabytes: memory of the game at the end.
    """

    env_steps: int
    steps_per_second: float
    start_seconds: float
    game_megabytes: int


def play(
    environ: Mapping[str, str], map_name: str, version: str, seconds: float
) -> tuple[Finding, Played | None]:
    """Play one battle, within a deadline.

    Args:
        environ: the environment variables that an actor would have.
        map_name: SMAC's name of the map.
        version: such as `4.10`; "" for the newest that is installed.
        seconds: longest time for all of it.
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROBE, map_name, version, str(seconds)],
        env=with_our_code(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        errors = _end(child)
        found = f"no episode within {seconds:.0f} s{_last(errors)}"
        return fault("episode", found, "read docs/starcraft.md, the game does not answer"), None
    except BaseException:
        _end(child)
        raise
    return _read(output, errors, child.returncode)


def _end(child: "subprocess.Popen[str]") -> str:
    """End the whole session; first in order, so that the game is seen off. Its last words."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, order)
        except ProcessLookupError:
            break
        try:
            return child.communicate(timeout=_LEAVE_SECONDS)[1]
        except subprocess.TimeoutExpired:
            continue
    return child.communicate()[1]


def _last(errors: str) -> str:
    lines = errors.strip().splitlines()
    return f"; last said: {lines[-1]}" if lines else ""


def _read(output: str, errors: str, code: int) -> tuple[Finding, Played | None]:
    try:
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        answer = {"error": f"the player ended with exit code {code}{_last(errors)}"}
    if "error" in answer:
        mend = "mend what the game says, then run dm2 doctor again"
        return fault("episode", answer["error"], mend), None
    played = Played(**answer)
    found = (
        f"{played.env_steps} env steps at {played.steps_per_second:,.0f} a second, started in "
        f"{played.start_seconds:.1f} s, {played.game_megabytes:,} MB"
    )
    return ok("episode", found), played


def tell(words: list[str]) -> None:
    """Play and print JSON; run in a process of its own.

    Args:
        words: the program, the map, the version and the time limit in seconds.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    map_name, version, seconds = words[1], words[2], float(words[3])
    try:
        answer: dict[str, object] = dataclasses.asdict(_play_here(map_name, version, seconds))
    except Exception as error:  # whatever it is, it is what the doctor has to tell
        answer = {"error": _said(error)}
    print(json.dumps(answer), flush=True)


def _said(error: Exception) -> str:
    """The reason, and what the game itself printed, in one line."""
    from dm2_dist.envs.interface import GameLost

    if not isinstance(error, GameLost):
        return " ".join(str(error).split()) or repr(error)
    printed = []
    for line in error.tail.splitlines():
        if line.startswith("Traceback"):
            break
        # The worker's own traceback says no more than the reason, and its start may be cut off.
        if line.strip() and not re.match(r"---|\s|[\w.]+(Error|Fault|Exception): ", line):
            printed.append(line)
    return f"{error.reason} (printed: {' | '.join(printed[-5:])})" if printed else error.reason


def _play_here(map_name: str, version: str, seconds: float) -> Played:
    import numpy as np

    from dm2_dist.envs import make
    from dm2_dist.envs.interface import GameBatch, GameLost, NoGameError
    from dm2_dist.envs.starcraft import game
    from dm2_dist.envs.starcraft import site as sites

    games = GamesConfig(
        version=version,
        answer_seconds=min(60.0, seconds / 2),
        start_seconds=min(120.0, seconds / 2),
        launches_allowed=1,
    )
    site = sites.temporary()
    battles = make.make_batch("smac", map_name, 1, games, site)
    assert isinstance(battles, GameBatch)
    draws = np.random.default_rng(_SEED)
    try:
        battles.reset(np.array([_SEED], dtype=np.uint64))
        start = time.monotonic()
        while not battles.finished[0]:
            legal = battles.available_actions * draws.random(battles.available_actions.shape)
            battles.step(legal.argmax(axis=2))
        elapsed = time.monotonic() - start
        return Played(
            env_steps=int(battles.episode_steps[0]),
            steps_per_second=int(battles.episode_steps[0]) / elapsed,
            start_seconds=battles.start_seconds,
            game_megabytes=battles.memory_bytes // 2**20,
        )
    except NoGameError as error:  # it names a log that goes with the folder
        reason = str(error).removesuffix(f"; see {site.log}").rpartition(", the last: ")[2]
        raise GameLost(reason, game.tail(site)) from error
    finally:
        battles.close()
        shutil.rmtree(site.shared, ignore_errors=True)
