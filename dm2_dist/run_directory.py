"""The run directory: one folder that holds everything about a run, owned by one process at a time.

Files (names are stable): `config.json`, `summary.json`, `evaluations.jsonl`, `metrics.jsonl`,
`checkpoints/agent_<k>/`, `ledger/`, `logs/<role>.log`; for a run that plays a scenario also
`scenario.toml` or `scenario.json`, its own copy, which every process of the run reads.
"""

import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from dm2_dist import child, containment, provenance
from dm2_dist import config as configuration
from dm2_dist.config import RunConfig
from dm2_dist.durable_file import (
    append_line,
    read_lines,
    sync_folder,
    write_atomically,
    write_durably,
)
from dm2_dist.envs.starcraft.importing import StarcraftImportError
from dm2_dist.envs.starcraft.installation import InstallationError

__all__ = [
    "RunDirectory",
    "RunDirectoryError",
    "acquire",
    "append_line",
    "default_root",
    "pin_scenario",
    "read_lines",
    "sync_folder",
    "write_atomically",
    "write_durably",
]

_GAME = ("starcraft2", "starcraft2_build", "starcraft2_program", "starcraft2_map_sha256")
"""What must not change within a run that plays StarCraft II."""

_OURS = ("checkpoints", "ledger", "logs", "post_mortem")
"""Folders that a run writes."""


class RunDirectoryError(Exception):
    """The run directory cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths of one run."""

    root: Path

    @property
    def config(self) -> Path:
        """The resolved configuration with versions."""
        return self.root / "config.json"

    @property
    def summary(self) -> Path:
        """Written at every end of the run."""
        return self.root / "summary.json"

    @property
    def evaluations(self) -> Path:
        """One line per evaluation."""
        return self.root / "evaluations.jsonl"

    @property
    def metrics(self) -> Path:
        """One line per iteration and agent."""
        return self.root / "metrics.jsonl"

    @property
    def ledger(self) -> Path:
        """Counter files of the actors' incarnations."""
        return self.root / "ledger"

    @property
    def logs(self) -> Path:
        """One log file per role."""
        return self.root / "logs"

    def checkpoints(self, agent: int) -> Path:
        """Commits and parameter versions of one agent."""
        return self.root / "checkpoints" / f"agent_{agent}"

    def read_config(self) -> RunConfig:
        """The configuration this run was started with; a scenario is the run's own copy.

        Raises:
            RunDirectoryError: there is none, it cannot be read, or the scenario is missing or has
                been changed.
        """
        try:
            document = json.loads(self.config.read_text())
            config = configuration.from_json(json.dumps(document["config"]))
        except FileNotFoundError:
            raise RunDirectoryError(
                f"{self.root} holds no run: {self.config.name} is missing; "
                "name the folder of a run, such as runs/NAME"
            ) from None
        except NotADirectoryError:
            raise RunDirectoryError(f"{self.root} is a file; name the folder of a run") from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise RunDirectoryError(f"{self.config} cannot be read: {error}") from error
        if not config.plays_scenario:
            return config
        path = self.root.absolute() / Path(config.map).name
        _check_scenario(path, _read_scenario(path), config.scenario_sha256)
        return replace(config, map=str(path))

    def read_summary(self) -> dict[str, Any] | None:
        """The last summary, or None before the first end of the run."""
        try:
            summary: dict[str, Any] = json.loads(self.summary.read_text())
        except FileNotFoundError:
            return None
        return summary


def default_root(config: RunConfig) -> Path:
    """`runs/<map>-<algorithm>-<time>`; a counter keeps two starts in one second apart."""
    battle = Path(config.map).stem if config.plays_scenario else config.map
    name = f"{battle}-{config.algorithm}-{time.strftime('%Y%m%d-%H%M%S')}"
    root, suffix = Path("runs") / name, 1
    while root.exists():
        suffix += 1
        root = Path("runs") / f"{name}-{suffix}"
    return root


def acquire(
    root: Path, config: RunConfig, *, resume: bool
) -> tuple[RunDirectory, filelock.BaseFileLock]:
    """Create the directory, or take up the run in it, and lock it until the process ends.

    Raises:
        RunDirectoryError: not writable, in use, holding another run, or nothing to resume.
    """
    directory = RunDirectory(root)
    if resume and not directory.config.exists():
        raise RunDirectoryError(f"--resume: {root} holds no run to continue")
    if escape := containment.first_escape(root, _OURS):
        raise RunDirectoryError(
            f"{escape} is a link or a special file, which may lead out of the run; put the file "
            "or folder itself in its place"
        )
    found = _versions(config)
    try:
        for folder in (directory.root, directory.ledger, directory.logs):
            folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(root / "run.lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise RunDirectoryError(
            f"{root} is in use by another dm2 process; choose another --run-dir"
        ) from None
    except OSError as error:
        raise RunDirectoryError(
            f"{root} cannot be written ({error.strerror}); choose another --run-dir"
        ) from error
    try:
        for draft in root.glob(".*.tmp"):
            draft.unlink(missing_ok=True)  # of a launcher or a head that was killed
        _claim(directory, config, found, resume=resume)
    except OSError as error:
        lock.release()
        raise RunDirectoryError(child.explain(error)) from error
    except BaseException:
        lock.release()
        raise
    return directory, lock


def _claim(
    directory: RunDirectory, config: RunConfig, found: dict[str, str], *, resume: bool
) -> None:
    """Write the configuration, or check that it is the run's; only the end may move out."""
    if not directory.config.exists():
        _write_config(directory, _with_own_scenario(directory, config), found)
        return
    if not resume:
        raise RunDirectoryError(
            f"{directory.root} already holds a run; continue it with --resume "
            "or choose another --run-dir"
        )
    before = directory.read_config()
    if config.plays_scenario and config.scenario_sha256 == before.scenario_sha256:
        config = replace(config, map=before.map)  # the same file, wherever it was named
    extended = replace(before, max_env_steps=max(before.max_env_steps, config.max_env_steps))
    changed = configuration.differences(extended, config)
    if changed:
        raise RunDirectoryError(
            f"--resume: {directory.root} was started with another configuration: "
            + "; ".join(changed)
        )
    _check_game(directory, found)
    _write_config(directory, config, found)


def _check_game(directory: RunDirectory, found: dict[str, str]) -> None:
    """Refuse to go on with another game, or another file of the map, than the run began with."""
    before = json.loads(directory.config.read_text()).get("versions", {})
    changed = [
        f"{name} was {before[name]}, and is {found[name] or 'unknown'} now"
        for name in _GAME
        if name in found and name in before and found[name] != before[name]
    ]
    if changed:
        raise RunDirectoryError(
            f"--resume: {directory.root} was played with another StarCraft II: "
            f"{'; '.join(changed)}; set SC2PATH and --games.version to the old one, or start a "
            "new run"
        )


def pin_scenario(config: RunConfig) -> RunConfig:
    """Fill in the digest of the scenario that a configuration names; no other one fits then.

    Raises:
        RunDirectoryError: the file cannot be read, or a resumed run was started with another one.
    """
    if not config.plays_scenario:
        return config
    path = Path(config.map).absolute()
    content = _read_scenario(path)
    if config.scenario_sha256:
        _check_scenario(path, content, config.scenario_sha256)
    return replace(config, map=str(path), scenario_sha256=hashlib.sha256(content).hexdigest())


def _with_own_scenario(directory: RunDirectory, config: RunConfig) -> RunConfig:
    """Copy the scenario into the run directory: the run plays its copy from now on."""
    if not config.plays_scenario:
        return config
    source = Path(config.map)
    own = directory.root.absolute() / f"scenario{source.suffix}"
    content = _read_scenario(source)
    _check_scenario(source, content, config.scenario_sha256)
    write_atomically(own, content)
    return replace(config, map=str(own))


def _read_scenario(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunDirectoryError(
            f"the scenario {path} cannot be read ({error.strerror}); bring it back"
        ) from error


def _check_scenario(path: Path, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise RunDirectoryError(
            f"{path} is not the scenario that the run was started with (its digest is "
            f"{found[:16]}, not {expected[:16]}); bring the old file back, or start a new run"
        )


def _versions(config: RunConfig) -> dict[str, str]:
    try:
        return provenance.versions(config)
    except (InstallationError, StarcraftImportError) as error:
        raise RunDirectoryError(str(error)) from error


def _write_config(directory: RunDirectory, config: RunConfig, found: dict[str, str]) -> None:
    if config.plays_scenario:  # relative to the run directory, which may be moved
        config = replace(config, map=Path(config.map).name)
    document = {"config": json.loads(configuration.to_json(config)), "versions": found}
    write_atomically(directory.config, json.dumps(document, indent=2).encode())
