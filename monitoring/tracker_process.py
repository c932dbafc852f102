"""The process that feeds trackers: `python -m monitoring.tracker_process RUN tensorboard wandb`.

It follows the files of the run record, so the run neither waits for it nor needs it: a tracker that
fails is switched off with one line, a tracker that hangs hangs alone. Started by
`launch.tracking`; also by hand, for a run without a launcher or one that is over. It ends when its
standard input does, or at Ctrl-C.
"""

import contextlib
import logging
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dm2_dist import child
from dm2_dist.log_line import Origin
from dm2_dist.run_directory import RunDirectory
from monitoring import tracker
from monitoring.tracker import Feed

_LOG = logging.getLogger(__name__)
_TURN_SECONDS = 1.0


class Feeds:
    """The trackers that still work.

    Args:
        directory: of the run.
        names: of the trackers.
        tell: takes one sentence for the user.
        make: makes a tracker of a name.
    """

    def __init__(
        self,
        directory: RunDirectory,
        names: Sequence[str],
        tell: Callable[[str], None],
        make: Callable[[str], tracker.Tracker] = tracker.make,
    ) -> None:
        self._directory, self._tell = directory, tell
        self.working: list[Feed] = []
        for name in names:
            with self._switched_off_if_failing(name):
                self.working.append(Feed(name, make(name), directory))
                _LOG.info("tracker_started name=%s lines=%s", name, self.working[-1].cursor.total)

    def turn(self) -> None:
        """Give every tracker what is new."""
        self._each(Feed.turn)

    def close(self) -> None:
        """Give every tracker the rest, and let it write."""
        self._each(Feed.close)

    def _each(self, what: Callable[[Feed], object]) -> None:
        for feed in list(self.working):
            with self._switched_off_if_failing(feed.name):
                what(feed)

    @contextlib.contextmanager
    def _switched_off_if_failing(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.working = [feed for feed in self.working if feed.name != name]
            _LOG.exception("tracker_failed name=%s", name)
            said = " ".join(str(error).split())[:200] or type(error).__name__
            log = self._directory.logs / "tracker.log"
            self._tell(f"{name} is switched off, the run goes on: {said}; see {log}")


def main(words: Sequence[str]) -> int:
    """Feed until the standard input ends."""
    # What the packages print is not for the terminal; on ours come only sentences of ours.
    news = os.fdopen(os.dup(1), "w", buffering=1)
    if not os.isatty(2):
        os.dup2(2, 1)
    for number in child.LAUNCHERS_SIGNALS:
        signal.signal(number, signal.SIG_IGN if not os.isatty(0) else signal.SIG_DFL)
    directory = RunDirectory(Path(words[0]))
    child.log_to(directory.logs / "tracker.log", Origin("tracker", os.getpid()))
    logging.captureWarnings(True)

    def tell(sentence: str) -> None:
        with contextlib.suppress(OSError):
            news.write(f"{sentence}\n")

    # Importing a tracker takes a while in which the run that begins needs the processor.
    while not _recorded(directory) and not _asked_to_end():
        pass
    feeds = Feeds(directory, words[1:], tell)
    with contextlib.suppress(KeyboardInterrupt):
        while feeds.working and not _asked_to_end():
            feeds.turn()
    feeds.close()
    return 0


def _recorded(directory: RunDirectory) -> bool:
    """Whether there is anything to keep."""
    files = (directory.metrics, directory.evaluations)
    return any(file.is_file() and file.stat().st_size for file in files)


def _asked_to_end() -> bool:
    """Wait a turn; whether the standard input has ended."""
    ready, _, _ = select.select([0], [], [], _TURN_SECONDS)
    return bool(ready) and not os.read(0, 4096)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
