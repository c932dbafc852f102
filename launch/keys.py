"""`dm2 keys`: make, show and change the keys with which the processes of a run know each other.

Called by `launch.cli`. Nothing here ever prints a secret, or even a whole public key.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dm2_dist.comms import keys
from dm2_dist.comms.keys import LIST, KeysError, Role
from launch import arguments

_NEEDED = {
    Role.HEAD: "the host of the head",
    Role.LEARNER: "every host with a learner",
    Role.ACTOR: "every host with an actor",
    Role.LAUNCHER: "whoever starts and watches the run",
}


@dataclass(frozen=True)
class KeysCommand:
    """Make, show and change the keys of a run that uses more than one machine.

    `init`: one key pair for each role, and the list of public keys, in a new folder.
    `show`: the fingerprints of the keys in the folder.
    `rotate`: a new key pair for --role; the old key is accepted, too.
    `retire`: from now on, of --role only the newest key is accepted.
    """

    action: Annotated[Literal["init", "show", "rotate", "retire"], tyro.conf.Positional]
    """What to do."""
    directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder of the keys."""
    role: Literal["head", "learner", "actor", "launcher"] | None = None
    """Whose key to rotate or retire; needed by these two."""


def main(words: Sequence[str]) -> int:
    """Run one action; returns the exit code."""
    return run(arguments.parse(KeysCommand, "dm2 keys", words))


def run(command: KeysCommand) -> int:
    """Run one action; returns the exit code: 0 done, 1 failed, 2 wrong arguments."""
    changes = command.action in ("rotate", "retire")
    if changes != (command.role is not None):
        which = "needs" if changes else "takes no"
        print(f"dm2: keys {command.action} {which} --role", file=sys.stderr)
        return 2
    folder = command.directory.expanduser().absolute()
    try:
        match command.action, command.role:
            case "init", _:
                keys.init(folder)
                print(_made(folder))
            case "rotate", str(role):
                keys.rotate(folder, Role(role))
                print(_rotated(folder, Role(role)))
            case "retire", str(role):
                count = keys.retire(folder, Role(role))
                print(f"took {count} old {_plural('key', count)} of the {role} off {LIST}")
                print(f"copy {LIST} to every host; a process that is connected stays connected")
        print(_shown(folder))
    except KeysError as error:
        print(f"dm2: {error}", file=sys.stderr)
        return 1
    return 0


def _made(folder: Path) -> str:
    lines = [f"made keys in {folder}; every host needs {LIST}, and of the keys only its own:"]
    lines += [f"  {f'{role}.key':13} {place}" for role, place in _NEEDED.items()]
    files = " ".join(shlex.quote(str(folder / name)) for name in ("actor.key", LIST))
    lines += [f"for instance: scp -p {files} HOST:dm2-keys/"]
    lines += ["use them with --keys DIR, or DM2_KEYS=DIR in the environment"]
    return "\n".join(lines)


def _rotated(folder: Path, role: Role) -> str:
    if role in (Role.HEAD, Role.LEARNER):
        return (
            f"made a new key for the {role}: stop the run, copy {LIST} to every host and "
            f"{role}.key to {_NEEDED[role]}, and resume"
        )
    return (
        f"made a new key for the {role}: copy {LIST} to the hosts of the head and the learners "
        f"first, then {role}.key and {LIST} to {_NEEDED[role]}; `dm2 keys retire` shuts the old "
        "key out"
    )


def _shown(folder: Path) -> str:
    """Fingerprints by role, the newest first, and which secret keys lie here."""
    lines = ["role      fingerprint"]
    for role, listed in keys.read_allowed(folder).items():
        for index, public in enumerate(listed):
            notes = [] if index else [_own(folder, role, public)]
            notes += ["older, still accepted"] if index else []
            lines.append(f"{role:9} {keys.fingerprint(public)}  {'; '.join(notes)}".rstrip())
    return "\n".join(lines)


def _own(folder: Path, role: Role, newest: bytes) -> str:
    path = folder / f"{role}.key"
    if not path.exists():
        return "secret key elsewhere"
    try:
        same = keys.load(folder, role).pair.public == newest
    except KeysError as error:
        return f"unusable: {error}"
    return f"secret key in {path.name}" if same else f"{path.name} is an older one; copy it anew"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
