"""The worker process: it alone imports SMAC, holds one game and plays what the actor asks for.

Started by `game` as `python -m dm2_dist.envs.starcraft.worker FD PARENT`; speaks `channel` on the
socket FD. It ends with the first fault of the game: the actor starts another worker then.
"""

import importlib
import os
import signal
import socket
import sys
import traceback
from typing import Any

from dm2_dist.envs.starcraft import guard, importing, orphan
from dm2_dist.envs.starcraft.channel import Channel, Close, Closed, Failed, Frame, Launch, Step


def main(words: list[str]) -> int:
    """Serve the actor until it has enough, or the game fails; returns the exit code."""
    orphan.die_with_parent(int(words[1]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # an actor ignores them; a game must not
    channel = Channel(socket.socket(fileno=int(words[0])))
    launch = channel.request()
    if not isinstance(launch, Launch):
        return 2
    launched = guard.Launched()
    try:
        env = _environment(launch, launched)
        channel.send(env.start_battle())
        while not isinstance(request := channel.request(), Close):
            channel.send(_answer(env, request))
        env.close()
    except Closed:
        return 1
    except Exception as error:
        if not isinstance(error, guard.GameFault):  # the last lines of the log belong to the game
            traceback.print_exc(limit=-2, chain=False)
        hopeless = isinstance(error, importing.StarcraftImportError)
        channel.send(Failed(reason=_reason(error, launched), hopeless=hopeless))
        return 1
    return 0


def _environment(launch: Launch, launched: guard.Launched) -> Any:
    base = importing.load(rpc_seconds=max(1, round(launch.answer_seconds)))
    guard.leash(importlib.import_module("pysc2.lib.sc_process"), launch, launched)
    return guard.guarded(base)(
        map_name=launch.map_name,
        game_version=launch.version or None,
        seed=launch.seed,
        continuing_episode=True,  # it says so then, when the time limit has ended a battle
    )


def _answer(env: Any, request: object) -> Frame:
    frame: Frame = env.play(request.actions) if isinstance(request, Step) else env.start_battle()
    return frame


def _reason(error: BaseException, launched: guard.Launched) -> str:
    """What happened, in one clause: the innermost cause, and how the game's process ended."""
    cause = error
    if isinstance(error, guard.GameFault) and error.__context__ is not None:
        cause = error.__context__
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    code = launched.end()
    return lines[0] if code is None else f"{lines[0]} (the game's exit code is {code})"


if __name__ == "__main__":
    sys.stdout.flush()
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # what SMAC leaves for the end of the process has no deadline
