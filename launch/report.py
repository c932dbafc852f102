"""`dm2 report`: a run, or several runs compared, as one HTML page that needs no network.

The launcher calls `write_at_end` when a run ends; the page is then made by a process of its own,
because nothing about a report may harm a run, and battles need the simulator.
"""

import contextlib
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dm2_dist import child, run_directory
from dm2_dist.run_directory import RunDirectoryError
from launch import arguments

_LOG = logging.getLogger(__name__)
NAME = "report.html"
_END_SECONDS = 30.0
"""Longest that the end of a run waits for its report."""
_INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class ReportCommand:
    """Show a run, or several runs compared, as one page for a browser."""

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]
    """Folders of runs; one is shown alone, several are compared."""
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Page to write; report.html in the run's folder, or comparison.html here, unless given."""
    without_battles: bool = False
    """Leave out the battles, which the newest policies play for the page; some seconds faster."""


def main(words: Sequence[str]) -> int:
    """Write the page; returns the exit code.

    Raises:
        RunDirectoryError: there is no such run, or the page cannot be written; in one sentence.
    """
    command = arguments.parse(ReportCommand, "dm2 report", words)
    wrong = _wrong(command)
    if wrong is not None:
        print(f"dm2: {wrong}", file=sys.stderr)
        return 2
    output = command.output or _default_output(command.run_dirs)
    if len(command.run_dirs) == 1:
        _write_single(command.run_dirs[0], output, battles=not command.without_battles)
    else:
        _write_comparison(command.run_dirs, output)
    print(f"wrote {output}, {output.stat().st_size / 1000:,.0f} kB; open it in a browser")
    return 0


def write_at_end(root: Path, stopped: Callable[[], bool]) -> None:
    """Write the report of a run that has ended; if that fails, say so in one line and go on.

    Args:
        root: the run directory.
        stopped: whether somebody does not want to wait any more.
    """
    if stopped():
        return
    command = [sys.executable, "-P", "-m", "launch.report", str(root)]
    log = root / "logs" / "report.log"
    try:
        with log.open("wb") as output:
            failed = _attended(command, output.fileno(), stopped)
        said = log.read_text(errors="replace").strip().splitlines()
        if not failed:
            return
        reason = failed if failed != "error" or not said else said[-1].removeprefix("dm2: ")
    except OSError as error:
        failed, reason = "error", child.explain(error)
    with contextlib.suppress(OSError):
        for draft in root.glob(f".{NAME}.*.tmp"):  # of a process that was ended
            draft.unlink()
    _LOG.warning("no report reason=%s", reason)
    if failed == _INTERRUPTED:
        return
    sys.stderr.write(f"dm2: {NAME} is not complete: {reason}; try `dm2 report {root}`\n")


def _attended(command: Sequence[str], output: int, stopped: Callable[[], bool]) -> str:
    """Run a command to its end; returns why it has failed, or nothing."""
    # A session of its own: Ctrl-C is for the launcher, which then ends it.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    deadline = time.monotonic() + _END_SECONDS
    try:
        while True:
            try:
                return "error" if process.wait(0.1) else ""
            except subprocess.TimeoutExpired:
                if stopped():
                    return _INTERRUPTED
                if time.monotonic() > deadline:
                    return f"it took longer than {_END_SECONDS:.0f} s"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wrong(command: ReportCommand) -> str | None:
    from monitoring.report_comparison import MOST_RUNS

    if not command.run_dirs:
        return "report needs at least one run directory"
    if len(command.run_dirs) > MOST_RUNS:
        return f"{len(command.run_dirs)} runs are too many for one page; {MOST_RUNS} fit"
    if command.output is not None and command.output.suffix.lower() not in (".html", ".htm"):
        return f"{command.output} must end in .html"
    return None


def _default_output(roots: Sequence[Path]) -> Path:
    return roots[0] / NAME if len(roots) == 1 else Path("comparison.html")


def _write_single(root: Path, output: Path, *, battles: bool) -> None:
    """Write the page, and write it again once the battles are played: they may take long."""
    from monitoring import report, report_source

    run = report_source.read(root)
    if not battles:
        _write(output, report.page(run, (), "They were left out, as was asked for."))
        return
    _write(output, report.page(run, (), "They were still being played when this was written."))
    from launch import report_battles  # the simulator takes seconds to load

    found, note = report_battles.play(root)
    _write(output, report.page(run, found, note))


def _write_comparison(roots: Sequence[Path], output: Path) -> None:
    from monitoring import report_comparison, report_source

    runs = [report_source.read(root) for root in roots]
    _write(output, report_comparison.page(runs))


def _write(output: Path, page: str) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        run_directory.write_atomically(output, page.encode("utf-8", errors="replace"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunDirectoryError(
            f"{output} cannot be written ({reason}); choose another --output"
        ) from error


def _alone() -> int:
    try:
        return main(sys.argv[1:])
    except RunDirectoryError as error:
        print(f"dm2: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_alone())
