"""Who a process is to others: one CURVE key pair per role, and the list of keys each role may have.

A folder of keys holds `ROLE.key` (secret and public key of a role, for its owner's eyes only) and
`allowed.json` (public keys by role, the newest first). A host needs the keys of the roles that run
there and the list, no more. Written by `launch.keys`; used by `endpoint` and `gatekeeper`.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import zmq

VARIABLE = "DM2_KEYS"
"""Environment variable that names the folder of keys; never a key itself."""
LIST = "allowed.json"
_SIZE_LIMIT = 64 * 1024
_KEYS_LIMIT = 64
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


class Role(StrEnum):
    """Whom a key speaks for; nobody can hold two roles with one key."""

    HEAD = "head"
    LEARNER = "learner"
    ACTOR = "actor"
    LAUNCHER = "launcher"


class KeysError(Exception):
    """Keys that cannot be used; the message names the file and the mend, never a secret."""


Allowed = Mapping[Role, tuple[bytes, ...]]
"""Role -> public keys (Z85, 40 bytes each), the newest first."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, both halves in Z85; printing it shows the public half only."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that a process uses.

    role: what the process is.
    pair: its own keys.
    folder: where they and the list of the others' keys lie.
    """

    role: Role
    pair: KeyPair
    folder: Path

    def server_key(self, role: Role) -> bytes:
        """The key that a listening process of `role` must prove to have: the newest on the list.

        Raises:
            KeysError: the list cannot be read or names none.
        """
        found = read_allowed(self.folder)[role]
        if not found:
            raise KeysError(
                f"{self.folder / LIST} names no key for the {role}; copy the whole file from the "
                "host where the keys were made"
            )
        return found[0]


def folder_of(option: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The folder of keys that a process was told to use: by option, else by `DM2_KEYS`, or None."""
    if option is not None:
        return option
    named = environment.get(VARIABLE, "")
    return Path(named) if named else None


def load(folder: Path, role: Role) -> Keys:
    """The keys of a process of `role`.

    Raises:
        KeysError: missing, malformed, readable or changeable by others, or not on the list.
    """
    _check_library()
    _check_folder(folder)
    path = folder / f"{role}.key"
    document = _read_json(path, private=True)
    if document.get("role") != role:
        raise KeysError(f"{path} is a key for {document.get('role')!r}, not for the {role}")
    pair = KeyPair(*(_key(document.get(half), path) for half in ("public", "secret")))
    if zmq.curve_public(pair.secret) != pair.public:
        raise KeysError(f"{path} is damaged: its halves do not belong together; copy it again")
    if pair.public not in read_allowed(folder)[role]:
        raise KeysError(
            f"{path} is not among the keys of {folder / LIST}; copy both files anew from the host "
            "where the keys were made"
        )
    return Keys(role, pair, folder)


def read_allowed(folder: Path) -> Allowed:
    """The public keys that each role may have.

    Raises:
        KeysError: missing, malformed, changeable by others, or one key stands for two roles.
    """
    path = folder / LIST
    document = _read_json(path, private=False)
    allowed = {}
    for role in Role:
        listed = document.get(role, [])
        if not isinstance(listed, list) or len(listed) > _KEYS_LIMIT:
            raise KeysError(f"{path}: {role} must be a list of at most {_KEYS_LIMIT} keys")
        allowed[role] = tuple(_key(text, path) for text in listed)
    every = [key for listed in allowed.values() for key in listed]
    if len(set(every)) != len(every):
        raise KeysError(f"{path} names one key twice; each role needs keys of its own")
    return allowed


def init(folder: Path) -> Allowed:
    """Make a new folder with one key pair per role; returns the public halves.

    Raises:
        KeysError: the folder holds something already, or cannot be written.
    """
    _check_library()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise KeysError(f"{folder} is not empty and keys are never overwritten; name another")
        folder.chmod(0o700)
        pairs = {role: _new_pair() for role in Role}
        for role, pair in pairs.items():
            _write_pair(folder, role, pair)
        allowed = {role: (pair.public,) for role, pair in pairs.items()}
        _write_allowed(folder, allowed)
    except OSError as error:
        raise KeysError(f"{folder} cannot be written: {error.strerror}") from error
    return allowed


def rotate(folder: Path, role: Role) -> None:
    """Give a role a new key pair; its old key stays on the list until `retire`.

    Raises:
        KeysError: no keys there, or they cannot be written.
    """
    _check_library()
    _check_folder(folder)
    allowed = read_allowed(folder)
    if len(allowed[role]) >= _KEYS_LIMIT:
        raise KeysError(
            f"{folder / LIST} holds {_KEYS_LIMIT} keys for the {role}; retire the old ones with "
            f"`dm2 keys retire {folder} --role {role}`"
        )
    pair = _new_pair()
    try:
        # The list first: whatever a crash leaves behind, the key in use is on it.
        _write_allowed(folder, {**allowed, role: (pair.public, *allowed[role])})
        _write_pair(folder, role, pair)
    except OSError as error:
        raise KeysError(f"{folder} cannot be written: {error.strerror}") from error


def retire(folder: Path, role: Role) -> int:
    """Take all keys of a role but the one in `ROLE.key` off the list; returns how many.

    Raises:
        KeysError: no usable keys there, or they cannot be written.
    """
    current = load(folder, role).pair.public
    allowed = read_allowed(folder)
    try:
        _write_allowed(folder, {**allowed, role: (current,)})
    except OSError as error:
        raise KeysError(f"{folder} cannot be written: {error.strerror}") from error
    return len(allowed[role]) - 1


def fingerprint(public: bytes) -> str:
    """A short name of a public key that people can compare: 64 bits of its SHA-256, in groups."""
    text = hashlib.sha256(public).hexdigest()[:16]
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))


# --- files ---


def _check_library() -> None:
    if not zmq.has("curve"):
        raise KeysError("this ZeroMQ was built without CURVE; install pyzmq from its wheel")


def _check_folder(folder: Path) -> None:
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        raise KeysError(
            f"the folder of keys {folder} cannot be used ({error.strerror}); make keys with "
            "`dm2 keys init DIR`"
        ) from error
    if not stat.S_ISDIR(mode):
        raise KeysError(f"{folder} is not a folder of keys; name the folder, not a file in it")
    if mode & 0o022:
        raise KeysError(f"others may change what is in {folder}; run `chmod 700 {folder}`")


def _read_json(path: Path, *, private: bool) -> dict[str, Any]:
    """A small JSON object from a file that others cannot change and, if private, not read."""
    try:
        # NONBLOCK: opening a pipe in a file's place must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            _check_mode(path, found, private=private)
            data = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise KeysError(
            f"{path} cannot be read ({error.strerror}); copy it from the host where the keys were "
            "made, or make keys with `dm2 keys init DIR`"
        ) from error
    try:
        document = json.loads(data) if len(data) <= _SIZE_LIMIT else None
    except (ValueError, RecursionError):
        document = None  # what is in the file is not for the message
    if not isinstance(document, dict):
        raise KeysError(f"{path} is not a file of keys; copy it again")
    return document


def _check_mode(path: Path, found: os.stat_result, *, private: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeysError(f"{path} is not a regular file; copy it again")
    if private and found.st_mode & 0o077:
        raise KeysError(f"others may read the secret key {path}; run `chmod 600 {path}`")
    if found.st_mode & 0o022:
        raise KeysError(f"others may change {path}; run `chmod 600 {path}`")
    if found.st_uid not in (0, os.geteuid()):
        raise KeysError(f"{path} belongs to another user; copy it so that it belongs to you")


def _key(text: object, path: Path) -> bytes:
    if not isinstance(text, str) or not _Z85.fullmatch(text):
        raise KeysError(f"{path} holds something that is not a key; copy it again")
    return text.encode()


def _new_pair() -> KeyPair:
    return KeyPair(*zmq.curve_keypair())


def _write_pair(folder: Path, role: Role, pair: KeyPair) -> None:
    document = {"role": role, "public": pair.public.decode(), "secret": pair.secret.decode()}
    _write(folder / f"{role}.key", document)


def _write_allowed(folder: Path, allowed: Allowed) -> None:
    _write(folder / LIST, {role: [key.decode() for key in allowed[role]] for role in Role})


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a file in one step; nobody else can read it at any moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    with open(os.open(draft, flags, 0o600), "wb") as file:
        file.write(json.dumps(document, indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
