"""A learner's durable state: books, parameter versions and commits move together or not at all.

"Trained" becomes true in one atomic step: the commit on disk holds the networks, the books that say
so and the counters. Only then are trajectories settled and the version published. A disk that is
full for a while is waited for: nothing is settled, so nothing is lost. Owned by `learners.intake`.
"""

import errno
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dm2_dist import checkpoint, child
from dm2_dist.checkpoint import Commit
from dm2_dist.comms.ledger import LearnerBook, Settlement
from learners.publisher import Versions

_LOG = logging.getLogger(__name__)
STATE_FILE = "state.safetensors"
_PATIENCE_SECONDS = 300.0
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_PASSING = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN)
)
"""Errors that may pass while the process waits; of all others a restart is told, too."""


class DiskError(Exception):
    """A commit cannot be written; the message names the file, the reason and the mend."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One iteration's outcome, ready to be committed.

    version: the version this makes: iteration + 1 (0 for the untrained networks).
    env_steps: training env steps up to this version.
    state: safetensors bytes of everything the learner needs to go on.
    snapshot: safetensors bytes of the policy for the actors.
    parameters_sha256: hash of policy, critic and discriminator.
    metrics: what the update measured.
    """

    version: int
    env_steps: int
    state: bytes
    snapshot: bytes
    parameters_sha256: str
    metrics: dict[str, float]


class Journal:
    """The books, the versions and the commits of one agent.

    newest: what the newest commit holds; None before the first.
    degraded: called with a sentence whenever a write has failed and will be tried again, and with
        "" once it has succeeded; by the thread that commits.
    """

    def __init__(
        self, folder: Path, versions: Versions, patience_seconds: float = _PATIENCE_SECONDS
    ) -> None:
        """Take the folder; drafts of a killed learner go.

        Args:
            folder: checkpoints of one agent, made if it is missing.
            versions: of the same agent.
            patience_seconds: how long a full disk is waited for.
        """
        self.book = LearnerBook()
        self.versions = versions
        self.newest: Trained | None = None
        self.degraded: Callable[[str], None] = _ignore
        self._folder = folder
        self._patience_seconds = patience_seconds
        self._sequence = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            checkpoint.tidy(folder)
        except OSError as error:
            raise DiskError(child.explain(error)) from error

    @property
    def version(self) -> int:
        """Iterations trained and committed; -1 before the first commit."""
        return self.newest.version if self.newest is not None else -1

    def restore(self, commit: Commit) -> None:
        """Go on from a commit found at start."""
        facts = commit.facts
        self.book = LearnerBook.from_json(facts["books"])
        if commit.skipped:
            self.book.note_rollback()
        self.newest = Trained(
            version=int(facts["version"]),
            env_steps=int(facts["env_steps"]),
            state=commit.files[STATE_FILE],
            snapshot=b"",
            parameters_sha256=str(facts["parameters_sha256"]),
            metrics={},
        )
        self.versions.load({int(v): int(steps) for v, steps in facts["history"].items()})
        self._sequence = commit.sequence + commit.skipped
        _LOG.info("restored version=%s sequence=%s", self.version, self._sequence)

    def commit(self, trained: Trained, keep_from: int) -> list[Settlement]:
        """Put an iteration on disk; returns what may now be settled.

        Raises:
            DiskError: it is not on disk, and waiting did not help or would not. The process must
                end: what it remembers is ahead of what is on disk.
        """
        self._persist(
            lambda: self.versions.keep(trained.version, trained.snapshot, trained.env_steps)
        )
        self.newest = trained
        settlements = self.book.commit(trained.version - 1) if trained.version else []
        self._write()
        self.versions.prune(keep_from)
        return settlements

    def commit_drops(self) -> list[Settlement]:
        """Put drops on disk that came after the newest iteration, for instance while draining.

        Raises:
            DiskError: see `commit`.
        """
        settlements = self.book.commit_drops()
        if settlements:
            self._write()
        return settlements

    def _persist(self, write: Callable[[], None]) -> None:
        """Write, and write again while the disk is full, for a bounded time."""
        deadline, pause = time.monotonic() + self._patience_seconds, _FIRST_PAUSE_SECONDS
        said = False
        while True:
            try:
                if not self._folder.is_dir():  # nor make it anew: the run is not there any more
                    raise FileNotFoundError(
                        errno.ENOENT, os.strerror(errno.ENOENT), str(self._folder)
                    )
                write()
                break
            except OSError as error:
                reason = child.explain(error)
                if error.errno not in _PASSING:
                    raise DiskError(reason) from error
                if time.monotonic() + pause > deadline:
                    waited = f"waited {self._patience_seconds:.0f} s"
                    raise DiskError(f"{reason} ({waited})") from error
                _LOG.warning("degraded reason=%s; trying again in %.2f s", reason, pause)
                said = True
                self.degraded(reason)
            time.sleep(pause)
            pause = min(2.0 * pause, _LONGEST_PAUSE_SECONDS)
        if said:
            _LOG.warning("recovered: the disk takes commits again")
            self.degraded("")

    def _write(self) -> None:
        self._persist(self._write_once)

    def _write_once(self) -> None:
        """Each try has a number of its own: a commit that failed half may be there, too."""
        assert self.newest is not None
        self._sequence += 1
        facts = {
            "version": self.newest.version,
            "env_steps": self.newest.env_steps,
            "parameters_sha256": self.newest.parameters_sha256,
            "history": {str(version): steps for version, steps in self.versions.env_steps.items()},
            "books": self.book.to_json(),
        }
        checkpoint.save(self._folder, self._sequence, facts, {STATE_FILE: self.newest.state})


def _ignore(_: str) -> None:
    """Nobody wants to know."""
