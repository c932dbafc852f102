"""The run record: what the run came to, in files that people and programs read.

Owned by the head. `evaluations.jsonl` and `metrics.jsonl` grow while the run goes on; while the
disk is full, their lines wait in memory. `summary.json` is written at every end. The books are
closed from what is on disk: the actors' counter files and the learners' newest commits.
"""

import json
import logging
import statistics
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dm2_dist import checkpoint, child
from dm2_dist.checkpoint import Commit
from dm2_dist.comms import counter_file, ledger, messages
from dm2_dist.config import RunConfig
from dm2_dist.run_directory import RunDirectory, RunDirectoryError, append_line, write_atomically
from launch import announcement, line_file

_LOG = logging.getLogger(__name__)
_UNWRITTEN = 10_000
"""Lines that may wait for a full disk, a few megabytes."""


@dataclass(slots=True)
class RunRecord:
    """Evaluations, learning curves and time shares of one run.

    wall_before: seconds of the earlier stretches of this run, before it was resumed.
    started: `time.monotonic()` when this stretch of the run began.
    degraded: why lines cannot be written now; empty while they can.
    """

    directory: RunDirectory
    config: RunConfig
    wall_before: float
    started: float
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=dict)
    degraded: str = ""
    _unwritten: deque[tuple[Path, dict[str, Any]]] = field(default_factory=deque)
    _results: dict[int, dict[int, messages.Result]] = field(default_factory=dict)
    _versions_seen: dict[int, int] = field(default_factory=dict)
    _actor_phases: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    _learner_phases: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)

    @classmethod
    def open(cls, directory: RunDirectory, config: RunConfig) -> "RunRecord":
        """Take up the record of the run in this directory, or begin it.

        There is no summary of a stretch that was killed; its last line tells how long it lasted.
        """
        evaluations = line_file.mended(directory.evaluations, {"version", "win_rate"})
        metrics = line_file.mended(directory.metrics, {"agent", "version"})
        timed = [directory.read_summary() or {}, *evaluations, *metrics]
        record = cls(
            directory=directory,
            config=config,
            wall_before=max(float(line.get("wall_seconds", 0.0)) for line in timed),
            started=time.monotonic(),
            evaluations=evaluations,
        )
        for line in metrics:
            record._versions_seen[line["agent"]] = line["version"]
        return record

    @property
    def evaluated_versions(self) -> set[int]:
        """Versions with a line in `evaluations.jsonl`."""
        return {int(line["version"]) for line in self.evaluations}

    @property
    def wall_seconds(self) -> float:
        """Seconds of all stretches of this run."""
        return self.wall_before + time.monotonic() - self.started

    def note_result(
        self, version: int, index: int, result: messages.Result, env_steps: int
    ) -> dict[str, Any] | None:
        """Take in one evaluate ticket; returns the evaluation's line once all tickets are there."""
        results = self._results.setdefault(version, {})
        results[index] = result
        if sum(len(part.won) for part in results.values()) < self.config.evaluation.episodes:
            return None
        del self._results[version]
        ordered = [results[key] for key in sorted(results)]
        won = [flag for part in ordered for flag in part.won]
        returns = [value for part in ordered for value in part.returns]
        lengths = [value for part in ordered for value in part.lengths]
        line = {
            "env_steps": env_steps,
            "wall_seconds": round(self.wall_seconds, 3),
            "win_rate": sum(won) / len(won),
            "return_mean": sum(returns) / len(returns),
            "return_std": statistics.pstdev(returns),
            "length_mean": sum(lengths) / len(lengths),
            "episodes": len(won),
            "version": version,
        }
        self.evaluations.append(line)
        self._append(self.directory.evaluations, line)
        return line

    def note_learner(self, beat: messages.LearnerBeat) -> None:
        """Keep a learner's time shares, and its metrics once per version."""
        self._learner_phases[beat.source.name, beat.source.incarnation] = beat.phases
        if beat.version > self._versions_seen.get(beat.agent, 0) and beat.metrics:
            self._versions_seen[beat.agent] = beat.version
            line = {
                "agent": beat.agent,
                "version": beat.version,
                "env_steps": beat.env_steps[str(beat.version)],
                "wall_seconds": round(self.wall_seconds, 3),
                **beat.metrics,
            }
            self._append(self.directory.metrics, line)

    def _append(self, path: Path, line: dict[str, Any]) -> None:
        """Write a line, after those that wait; while it cannot be written, it waits, too."""
        if len(self._unwritten) >= _UNWRITTEN:
            raise RunDirectoryError(f"{self.degraded} ({_UNWRITTEN} lines wait for it)")
        self._unwritten.append((path, line))
        self._write_waiting()

    def _write_waiting(self) -> None:
        try:
            while self._unwritten:
                append_line(*self._unwritten[0])
                self._unwritten.popleft()
        except OSError as error:
            self.degraded = child.explain(error)
            _LOG.warning("degraded lines=%s reason=%s", len(self._unwritten), self.degraded)
        else:
            self.degraded = ""

    def note_actor(self, beat: messages.ActorBeat) -> None:
        """Keep an actor's time shares."""
        self._actor_phases[beat.source.name, beat.source.incarnation] = beat.phases

    def phases(self, role: str) -> dict[str, float]:
        """Seconds by phase over all incarnations of a role, `actor` or `learner`."""
        table = self._actor_phases if role == "actor" else self._learner_phases
        total: dict[str, float] = {}
        for phases in table.values():
            for phase, seconds in phases.items():
                total[phase] = total.get(phase, 0.0) + seconds
        return total

    def write_summary(self, num_agents: int, failure: str = "") -> dict[str, Any]:
        """Close the books and write `summary.json`, from what is on disk.

        Args:
            num_agents: K.
            failure: why the run was given up, in one sentence; empty if it was not.

        Raises:
            RunDirectoryError: it cannot be written; the message names the file and the mend.
        """
        self._write_waiting()
        commits = newest_commits(self.directory, num_agents)
        totals = close_books(self.directory, commits)
        wall = self.wall_seconds
        win_rates = [float(line["win_rate"]) for line in self.evaluations]
        facts = [commit.facts for commit in commits.values()]
        behind = min(facts, key=lambda known: int(known["version"]), default=None)
        version = int(behind["version"]) if behind and len(commits) == num_agents else 0
        env_steps = max((_steps_until(version, known) for known in facts), default=0)
        summary = {
            "finished": env_steps >= self.config.max_env_steps
            and version in self.evaluated_versions,
            "failure": failure,
            "env_steps": env_steps,
            "iterations": version,
            "wall_seconds": round(wall, 3),
            "env_steps_per_second": round(env_steps / wall, 1),
            "win_rate": win_rates[-1] if win_rates else None,
            "win_rate_best": max(win_rates, default=None),
            "ledger": {
                "produced": totals.produced,
                "trained": totals.trained,
                "dropped": totals.dropped,
                "lost": totals.lost,
                "error": totals.error,
            },
            "restarts": {"actor": 0, "learner": 0} | self.restarts,
            "time_share": {role: shares(self.phases(role)) for role in ("actor", "learner")},
            "parameters_sha256": {
                f"agent_{agent}": str(commit.facts["parameters_sha256"])
                for agent, commit in commits.items()
            },
        }
        _write_summary(self.directory, summary)
        return summary


def shares(phases: Mapping[str, float]) -> dict[str, float]:
    """Fractions of the total, rounded to a thousandth."""
    total = sum(phases.values())
    return {phase: round(seconds / total, 3) for phase, seconds in phases.items()} if total else {}


def newest_commits(directory: RunDirectory, num_agents: int) -> dict[int, Commit]:
    """Each agent's newest commit; agents without one are left out."""
    commits = {}
    for agent in range(num_agents):
        try:
            commit = checkpoint.load_newest(directory.checkpoints(agent))
        except checkpoint.CheckpointError as error:
            _LOG.error("books_incomplete agent=%s reason=%s", agent, error)
            continue
        if commit is not None:
            commits[agent] = commit
    return commits


def close_books(directory: RunDirectory, commits: Mapping[int, Commit]) -> ledger.Totals:
    """Compare what the actors' files say was produced with what the commits account for."""
    books = {agent: _book_of(commit) for agent, commit in commits.items()}
    return ledger.close(actor_counters(directory), books)


def _book_of(commit: Commit) -> ledger.LearnerBook:
    book = ledger.LearnerBook.from_json(commit.facts["books"])
    if commit.skipped:
        book.note_rollback()
    return book


def actor_counters(directory: RunDirectory) -> Iterator[ledger.Counters]:
    """What every incarnation of every actor noted in its counter file, or announced from afar."""
    for path in sorted(directory.ledger.glob("*.cnt")):
        yield counter_file.read_counters(path)
    yield from announcement.read(directory)


def _steps_until(version: int, facts: Mapping[str, Any]) -> int:
    """Training env steps that a learner's newest commit knows of a version; 0 of version 0."""
    if version == 0:
        return 0
    known = facts["env_steps"] if int(facts["version"]) == version else None
    return int(facts["history"].get(str(version), 0) if known is None else known)


def conclude(
    directory: RunDirectory,
    config: RunConfig,
    num_agents: int,
    restarts: Mapping[str, int],
    *,
    told: bool,
) -> None:
    """See to the summary when no process of the run is left.

    A head that was itself started again in the last moments of a run knows of no restart before.

    Args:
        directory: of the run.
        config: of the run.
        num_agents: K.
        restarts: by role, as its launcher counted them.
        told: whether the head has written a summary.

    Raises:
        RunDirectoryError: see `RunRecord.write_summary`.
    """
    summary = directory.read_summary() if told else None
    if summary is None:
        record = RunRecord.open(directory, config)
        record.restarts |= dict(restarts)
        record.write_summary(num_agents)
    elif summary["restarts"] | dict(restarts) != summary["restarts"]:
        summary["restarts"] |= dict(restarts)
        _write_summary(directory, summary)


def _write_summary(directory: RunDirectory, summary: Mapping[str, Any]) -> None:
    try:
        write_atomically(directory.summary, json.dumps(summary, indent=2).encode())
    except OSError as error:
        raise RunDirectoryError(child.explain(error)) from error
