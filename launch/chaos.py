"""`dm2 chaos -- local ...`: disturb a run on purpose, and see whether it keeps its promises.

An undisturbed twin runs first; then the same run is started as a user would start it, and while it
trains its processes are killed, stopped, slowed, cut off and fed garbage, by a plan that follows
from a seed. Called by `launch.cli`.
"""

import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import tyro

from dm2_dist import config as configuration
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from launch import arguments, chaos_plan, chaos_report
from launch.chaos_child import Child
from launch.chaos_report import Ending, Verdict
from launch.chaos_run import Event, Tormentor

_OWN = ("--run-dir", "--resume")
_TWIN_SECONDS = 86_400.0


@dataclass(frozen=True)
class ChaosCommand:
    """Disturb a run on purpose and see whether it keeps its promises: `dm2 chaos -- local ...`.

    Exit code 0: it finished, its books close, and its parameters are those of an undisturbed run.
    """

    seed: int = 0
    """Seed of the plan: what is done to whom, and when."""
    kills: int = 12
    """Kills of actors, learners, the head and the launcher; from 4 on each is among them."""
    others: int = 6
    """Stops, slowdowns, partitions and bursts of garbage; from 4 on each is among them."""
    twin: bool = True
    """Compare with an undisturbed run of the same arguments, which is made first."""
    twin_of: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of an undisturbed run to compare with, instead of making one."""
    minutes: float = 0.0
    """Start over with the next seed until so many minutes have passed; one round unless given."""
    patience_seconds: float = 300.0
    """Give a run up that makes no progress for so long."""
    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the runs; a new one under runs/ unless given."""
    json: bool = False
    """Print one JSON object at the end instead of lines."""


class _RefusedError(Exception):
    """Arguments that make no sense, or a twin that failed; the message says what to do."""


def main(words: Sequence[str]) -> int:
    """Disturb; returns the exit code: 0 well, 1 not well, 2 wrong arguments."""
    own, _, launched = _split(words)
    command = arguments.parse(ChaosCommand, "dm2 chaos", own)
    wrong = _wrong(command, launched)
    if wrong:
        return _fail(wrong, 2)
    root = (command.run_dir or Path("runs") / f"chaos-{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        verdicts = _rounds(command, _local_words(launched), root)
    except _RefusedError as error:
        return _fail(str(error), 1)
    if command.json:
        print(json.dumps({"runs": str(root), "rounds": [each.to_json() for each in verdicts]}))
    return 0 if all(verdict.ok for verdict in verdicts) else 1


def _interrupted(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM ends like Ctrl-C: what was started is ended, and stopped processes go on before."""
    raise KeyboardInterrupt


def _split(words: Sequence[str]) -> tuple[list[str], str, list[str]]:
    if "--" not in words:
        return list(words), "", []
    place = list(words).index("--")
    return list(words[:place]), "--", list(words[place + 1 :])


def _wrong(command: ChaosCommand, launched: Sequence[str]) -> str:
    if not launched or launched[0] != "local":
        return "chaos needs a run to disturb after --, for instance `dm2 chaos -- local`"
    given = [word for word in _OWN for found in launched if found.partition("=")[0] == word]
    if given:
        return f"{given[0]} is chosen by chaos; give --run-dir to chaos, before the --"
    if min(command.kills, command.others) < 0:
        return "kills and others must be at least 0"
    if command.patience_seconds <= 0:
        return "patience-seconds must be above 0"
    if command.twin_of is not None and not command.twin:
        return "--twin-of and --no-twin exclude each other"
    return ""


def _local_words(launched: Sequence[str]) -> list[str]:
    """The arguments of `dm2 local`: plain lines, and a free port beside the twin's."""
    words = list(launched[1:])
    if not any(word.partition("=")[0] == "--metrics-port" for word in words):
        words += ["--metrics-port", "0"]
    return words if "--plain" in words else [*words, "--plain"]


def _rounds(command: ChaosCommand, words: list[str], root: Path) -> list[Verdict]:
    """The twin, then one disturbed run or as many as the time allows."""
    started = time.monotonic()
    twin = _twin(command, words, root)
    verdicts: list[Verdict] = []
    while not verdicts or time.monotonic() - started < 60.0 * command.minutes:
        seed = command.seed + len(verdicts)
        verdicts.append(_disturb(command, words, root / f"seed-{seed}", seed, twin))
        if not command.json:
            print(chaos_report.text(verdicts[-1]), flush=True)
        if not verdicts[-1].ok:
            break
    return verdicts


def _twin(command: ChaosCommand, words: list[str], root: Path) -> RunDirectory | None:
    if not command.twin:
        return None
    if command.twin_of is not None:
        return RunDirectory(command.twin_of)
    child = Child(words, root / "twin")
    _say(command, f"the undisturbed twin runs in {child.directory.root}")
    child.start()
    deadline = time.monotonic() + _TWIN_SECONDS
    try:
        while (code := child.poll()) is None and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        child.end()
    if code != 0:
        raise _RefusedError(f"the undisturbed twin failed: {child.last_words()}")
    return child.directory


def _disturb(
    command: ChaosCommand, words: list[str], root: Path, seed: int, twin: RunDirectory | None
) -> Verdict:
    plan = chaos_plan.make(seed, command.kills, command.others)
    child = Child(words, root)
    _say(command, f"seed {seed}: {len(plan)} faults; the disturbed run is in {root}")

    def tell(event: Event) -> None:
        _say(command, chaos_report.line(event))

    tormentor = Tormentor(child, plan, seed, command.patience_seconds, tell)
    code, left = 1, []
    try:
        code = tormentor.run()
    finally:
        left = child.end()
    log = child.directory.logs / "launcher.log"
    ending = Ending(
        exit_code=code,
        failure=tormentor.failure or (child.last_words() if code else ""),
        summary=child.summary(),
        left=left,
        crashes=chaos_report.crashes(log.read_text() if log.exists() else ""),
    )
    return chaos_report.judge(seed, tormentor.events, ending, _comparable(child.directory, twin))


def _comparable(disturbed: RunDirectory, twin: RunDirectory | None) -> dict[str, Any] | None:
    """The twin's summary, if its configuration is the same and the schedule repeats itself."""
    if twin is None:
        return None
    try:
        ours, theirs = disturbed.read_config(), twin.read_config()
    except RunDirectoryError as error:
        raise _RefusedError(str(error)) from error
    changed = configuration.differences(theirs, ours)
    if changed:
        raise _RefusedError(f"{twin.root} is no twin of this run: {'; '.join(changed)}")
    return (twin.read_summary() or {}) if ours.schedule in chaos_report.REPEATABLE else None


def _say(command: ChaosCommand, sentence: str) -> None:
    if not command.json:
        print(sentence, flush=True)


def _fail(sentence: str, code: int) -> int:
    print(f"dm2: {sentence}", file=sys.stderr)
    return code
