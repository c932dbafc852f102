"""The command line: `dm2 COMMAND ...`. Each command imports the heavy libraries that it needs."""

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from dm2_dist import config as configuration
from dm2_dist import presets, run_directory
from dm2_dist.checkpoint import CheckpointError
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.demonstrations import DemonstrationsError
from dm2_dist.envs.skirmish import UnknownMapError
from dm2_dist.envs.skirmish.document import ScenarioError
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from launch import arguments

_USAGE = """\
usage: dm2 COMMAND [options]      (dm2 COMMAND --help tells the options)

  local        train on this machine: head, learners and actors, watched until the end
  head         coordinate a run whose learners and actors are on other hosts
  learner      train one agent of such a run
  actor        play for such a run; needs nothing but the head's address
  keys         make, show and change the keys of such a run
  status       print how a run goes, or what it came to
  top          follow a run live
  record       play a run's policies and keep the episodes as demonstrations
  evaluate     play a run's policies greedily and print how good they are
  curves       draw the win rate and return of runs over env steps
  report       show a run, or several compared, as one page for a browser
  presets      list the presets, or show one
  show-config  print the configuration that the given options make
  replay       show a recorded battle as a page, a GIF or an MP4
  bench        measure the pipeline and its parts
  doctor       look at this machine and at StarCraft II, and name the mend for what is wrong
  chaos        disturb a run on purpose: kill, stop, slow, cut off and garble its processes
  sc2-standin  install a stand-in for StarCraft II, to rehearse a run without the game
"""


_TICKET_SIZE = ("--collection.episodes-per-ticket", "--collection.episodes_per_ticket")


@dataclass(frozen=True)
class Local:
    """Train on this machine."""

    run: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)
    actors: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Actor processes; the result does not depend on their number. Chosen from the machine unless
    given."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the run; a new one under runs/ unless given."""
    resume: bool = False
    """Go on with the run in --run-dir."""
    metrics_port: Annotated[int | None, tyro.conf.arg(metavar="PORT")] = None
    """Port of the head's /metrics and /sd; 9400, or a free one if that is taken."""
    plain: bool = False
    """Plain lines instead of the live view."""
    json: bool = False
    """JSON lines instead of the live view; docs/watching.md describes their fields."""
    trackers: Annotated[str | None, tyro.conf.arg(metavar="NAME,...")] = None
    """Where curves are kept as well: tensorboard, wandb, mlflow, several with commas, or none.
    TensorBoard unless given, if it is installed."""


@dataclass(frozen=True)
class ShowConfig:
    """Print the configuration that the given options make."""

    run: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)


@dataclass(frozen=True)
class Curves:
    """Draw the win rate and return of runs over env steps."""

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]
    """Folders of runs; each is a line in the picture."""
    output: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("curves.svg")
    """Picture to write; its ending decides the format: svg, png or pdf."""


@dataclass(frozen=True)
class Presets:
    """List the presets, or show one."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[PRESET]")] = ""
    """Preset to show as JSON; all are listed unless given."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; exit code 0 done, 1 failed, 2 wrong arguments, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except (ConfigError, ScenarioError, UnknownMapError) as error:
        return _fail(str(error), 2)
    except (CheckpointError, DemonstrationsError, RunDirectoryError) as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(words: list[str]) -> int:
    command, rest = (words[0], words[1:]) if words else ("--help", [])
    match command:
        case "--help" | "-h":
            sys.stdout.write(_USAGE)
            return 0
        case "local":
            return _local(rest)
        case "show-config":
            shown = arguments.parse(ShowConfig, "dm2 show-config", rest, ShowConfig(base_of(rest)))
            print(configuration.to_json(shown.run))
            return 0
        case "curves":
            return _curves(arguments.parse(Curves, "dm2 curves", rest))
        case "presets":
            return _presets(arguments.parse(Presets, "dm2 presets", rest))
    return _hand_over(command, rest)


def _hand_over(command: str, rest: list[str]) -> int:
    """Commands with a module of their own, imported when they are asked for."""
    run: Callable[[list[str]], int]
    match command:
        case "record" | "evaluate":
            from launch import frozen_commands

            run = frozen_commands.record if command == "record" else frozen_commands.evaluate
        case "report":
            from launch import report

            run = report.main
        case "replay":
            from launch import replay

            run = replay.main
        case "bench":
            from launch import bench

            run = bench.main
        case "doctor":
            from launch import doctor

            run = doctor.main
        case "head" | "learner" | "actor":
            from launch import roles

            run = partial(roles.main, command)
        case "keys":
            from launch import keys

            run = keys.main
        case "chaos":
            from launch import chaos

            run = chaos.main
        case "sc2-standin":
            from launch import sc2_standin

            run = sc2_standin.main
        case _:
            return _watch(command, rest)
    return run(rest)


def base_of(words: list[str]) -> RunConfig:
    """What a run's flags start from: the run to be resumed, or a preset for its environment."""
    folder = _value_of("--run-dir", words)
    name = _value_of("--preset", words)
    if "--resume" in words:
        if folder is None:
            raise ConfigError("--resume needs --run-dir: the folder of the run to continue")
        return RunDirectory(Path(folder)).read_config()
    base = presets.by_name(name) if name is not None else RunConfig()
    environment = _value_of("--env", words)
    return base if environment is None else presets.in_environment(base, environment)


def _value_of(flag: str, words: list[str]) -> str | None:
    for index, word in enumerate(words):
        if word == flag and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def _local(words: list[str]) -> int:
    local = arguments.parse(Local, "dm2 local", words, Local(base_of(words)))
    if local.actors is not None and local.actors < 1:
        raise ConfigError(f"actors is {local.actors}; it must be at least 1")
    if local.metrics_port is not None and not 0 <= local.metrics_port < 2**16:
        raise ConfigError(f"metrics-port is {local.metrics_port}; a port is 0 to 65535")
    from launch import host, local_run, tracking
    from launch.local_options import LocalOptions
    from monitoring import json_line
    from monitoring.summary import summary_text

    trackers = tracking.chosen(local.trackers)
    root = local.run_dir or run_directory.default_root(local.run)
    options = LocalOptions(
        actors=local.actors,
        run_dir=root,
        resume=local.resume,
        metrics_port=local.metrics_port,
        plain=local.plain,
        json=local.json,
        trackers=trackers,
        ticket_size_given=any(_value_of(flag, words) is not None for flag in _TICKET_SIZE),
    )
    try:
        code = 0 if _has_finished(local, root) else local_run.run_local(local.run, options)
    except host.RunFailedError as error:
        return _fail(str(error), 1)
    summary = RunDirectory(root).read_summary()
    if summary is not None:
        last_words = json_line.summary if local.json else summary_text
        print(last_words(summary, str(root)))
    return code


def _has_finished(local: Local, root: Path) -> bool:
    """Whether a run that is to be resumed has nothing left to do; then it stays as it is."""
    directory = RunDirectory(root)
    if not local.resume or directory.read_config() != local.run:
        return False
    summary = directory.read_summary() or {}
    over = summary.get("finished", False) and summary["env_steps"] >= local.run.max_env_steps
    if not over or not (root / "report.html").exists():  # written last
        return False
    sentence = (
        f"{root} has finished; a larger --max-env-steps than {local.run.max_env_steps:,} goes on"
    )
    print(f"dm2: {sentence}", file=sys.stderr)
    return True


def _watch(command: str, rest: list[str]) -> int:
    if command not in ("status", "top"):
        known = [line.split()[0] for line in _USAGE.splitlines()[2:]]
        near = difflib.get_close_matches(command, known, 1)
        guess = f"did you mean {near[0]}? " if near else ""
        return _fail(f"unknown command {command!r}; {guess}`dm2 --help` lists them", 2)
    from launch import watch

    try:
        return watch.status(rest) if command == "status" else watch.top(rest)
    except watch.WatchError as error:
        return _fail(str(error), 1)


def _curves(chosen: Curves) -> int:
    from launch import curves

    if not chosen.run_dirs:
        raise ConfigError("curves needs at least one RUN: a folder such as runs/NAME")
    if chosen.output.suffix not in (".svg", ".png", ".pdf"):
        raise ConfigError(f"--output {chosen.output} must end in .svg, .png or .pdf")
    try:
        curves.draw([curves.read(root) for root in chosen.run_dirs], chosen.output)
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is missing; install dm2-dist with the extra [plot]", 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return _fail(f"{chosen.output} cannot be written ({reason}); choose another --output", 1)
    print(f"wrote {chosen.output}")
    return 0


def _presets(chosen: Presets) -> int:
    if chosen.name:
        print(configuration.to_json(presets.by_name(chosen.name)))
        return 0
    for name, preset in presets.PRESETS.items():
        summary = (preset.__doc__ or "").splitlines()[0]
        print(f"{name:14} {summary}")
    return 0


def _fail(sentence: str, code: int) -> int:
    print(f"dm2: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
