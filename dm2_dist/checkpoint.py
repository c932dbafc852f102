"""Commits: everything a learner needs to go on, on disk in one atomic step.

A commit is a folder `commit-<sequence>` of files and a manifest with their SHA-256. It is written
beside, flushed, and renamed; so there is always a whole newest commit, and start is recovery.
Parameter versions that actors may still ask for lie next to the commits in `parameters/`.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dm2_dist.run_directory import sync_folder, write_atomically, write_durably

_LOG = logging.getLogger(__name__)
_KEPT_COMMITS = 3
_DRAFT = ".draft-"
_MANIFEST = "manifest.json"


class CheckpointError(Exception):
    """No usable checkpoint; the message names the folder."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A verified commit: its sequence number, its facts and its files' bytes.

    skipped: newer commits that were damaged and passed over.
    """

    sequence: int
    facts: dict[str, Any]
    files: dict[str, bytes]
    skipped: int


def save(folder: Path, sequence: int, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write one commit atomically, then forget all but the newest few.

    Args:
        folder: checkpoints of one agent.
        sequence: grows by one per commit, also over damaged ones that were skipped, and over those
            that failed: what a failed flush left in memory must not be taken for what is on disk.
        facts: JSON-able numbers and words (version, env steps, books).
        files: name -> bytes, for instance `state.safetensors`.

    Raises:
        OSError: it may or may not be on disk, and must be written again; the one before is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{_DRAFT}{sequence:08d}"
    if draft.exists():
        shutil.rmtree(draft)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"sequence": sequence, "facts": dict(facts), "sha256": digests}
    os.mkdir(draft)
    try:
        for name, data in [*files.items(), (_MANIFEST, json.dumps(manifest).encode())]:
            write_durably(draft / name, data)
        sync_folder(draft)
        os.rename(draft, folder / f"commit-{sequence:08d}")
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)  # a full disk needs its bytes back
        raise
    sync_folder(folder)
    for old in commits(folder)[:-_KEPT_COMMITS]:
        shutil.rmtree(old, ignore_errors=True)  # whatever stays goes with the next commit


def tidy(folder: Path) -> None:
    """Remove what writers that were killed left half done; for the one who will write next."""
    for draft in folder.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)
    for file in (folder / "parameters").glob(".*.tmp"):
        file.unlink(missing_ok=True)


def commits(folder: Path) -> list[Path]:
    """Commit folders, oldest first."""
    return sorted(folder.glob("commit-*"))


def load_newest(folder: Path) -> Commit | None:
    """The newest commit whose files match their digests; None if there was never one.

    Reading changes nothing: damage is reported again and again until newer commits have replaced
    it.

    Raises:
        CheckpointError: there are commits and all of them are damaged.
    """
    candidates = commits(folder)
    for skipped, path in enumerate(reversed(candidates)):
        try:
            return _read(path, skipped)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _LOG.error("checkpoint_damaged path=%s reason=%s; trying the one before", path, error)
    if candidates:
        raise CheckpointError(f"every checkpoint in {folder} is damaged; start a new run")
    return None


def _read(path: Path, skipped: int) -> Commit:
    manifest = json.loads((path / _MANIFEST).read_bytes())
    files = {}
    for name, digest in manifest["sha256"].items():
        if Path(name).name != name:
            raise ValueError(f"file name {name!r} leaves the folder")
        files[name] = (path / name).read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ValueError(f"{name} does not match its digest")
    return Commit(int(manifest["sequence"]), manifest["facts"], files, skipped)


def save_parameters(folder: Path, version: int, data: bytes) -> None:
    """Keep the safetensors bytes of one published policy version."""
    (folder / "parameters").mkdir(parents=True, exist_ok=True)
    write_atomically(_parameters_path(folder, version), data)


def load_parameters(folder: Path, version: int) -> bytes:
    """The safetensors bytes of one policy version.

    Raises:
        CheckpointError: that version is not kept.
    """
    try:
        return _parameters_path(folder, version).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder} holds no parameters of version {version}") from error


def parameter_versions(folder: Path) -> list[int]:
    """Versions kept, ascending."""
    return sorted(int(path.stem) for path in (folder / "parameters").glob("[0-9]*.safetensors"))


def prune_parameters(folder: Path, keep_from: int) -> None:
    """Delete versions older than `keep_from`; what cannot be deleted now goes with the next."""
    for version in parameter_versions(folder):
        if version < keep_from:
            with contextlib.suppress(OSError):
                _parameters_path(folder, version).unlink()


def _parameters_path(folder: Path, version: int) -> Path:
    return folder / "parameters" / f"{version:08d}.safetensors"
