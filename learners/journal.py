"""A learner's durable state: books, parameter versions and commits move together or not at all.

"Trained" becomes true in one atomic step: the commit on disk holds the networks, the books that say
so and the counters. Only then are trajectories settled and the version published. Owned by
`learners.intake`.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from dm2_dist import checkpoint
from dm2_dist.checkpoint import Commit
from dm2_dist.comms.ledger import LearnerBook, Settlement
from learners.publisher import Versions

_LOG = logging.getLogger(__name__)
STATE_FILE = "state.safetensors"


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
    """

    def __init__(self, folder: Path, versions: Versions) -> None:
        self.book = LearnerBook()
        self.versions = versions
        self.newest: Trained | None = None
        self._folder = folder
        self._sequence = 0

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
        """Put an iteration on disk; returns what may now be settled."""
        self.versions.keep(trained.version, trained.snapshot, trained.env_steps)
        self.newest = trained
        settlements = self.book.commit(trained.version - 1) if trained.version else []
        self._write()
        self.versions.prune(keep_from)
        return settlements

    def commit_drops(self) -> list[Settlement]:
        """Put drops on disk that came after the newest iteration, for instance while draining."""
        settlements = self.book.commit_drops()
        if settlements:
            self._write()
        return settlements

    def _write(self) -> None:
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
