"""The terminal's view of a run: a calm live panel, or plain lines where nobody watches.

Knows no sockets and no clock: it is fed with the head's status reports, whose `wall_seconds` is the
only time it sees. Fed by the launcher; drawn by `monitoring.panel`.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from monitoring import panel, wording
from monitoring.summary import summary_text
from monitoring.wording import Phases

__all__ = ["ProgressView", "summary_text"]

Report = Mapping[str, Any]
"""The head's status report."""

LINE_SECONDS = 10.0
"""Between two plain lines."""
WINDOW_SECONDS = 20.0
"""Time shares are those of so many seconds."""
NUM_EVENTS = 3


@dataclass(frozen=True, slots=True)
class _Snapshot:
    wall_seconds: float
    actors: Phases
    learners: Mapping[int, Phases]


class ProgressView:
    """Shows reports and events while the context lasts."""

    def __init__(self, console: Console | None = None, *, plain: bool = False) -> None:
        """A console that is no terminal, or cannot show the signs, gets plain lines anyway."""
        self._console = console or Console()
        capable = self._console.is_terminal and not self._console.is_dumb_terminal
        encoding = self._console.encoding.lower()
        self._plain = plain or not capable or not encoding.startswith("utf")
        self._live = Live(
            console=self._console, auto_refresh=False, vertical_overflow="crop", transient=False
        )
        self._report: Report | None = None
        self._events: deque[str] = deque(maxlen=NUM_EVENTS)
        self._history = deque([_Snapshot(0.0, {}, {})])
        self._line_due = 0.0

    def __enter__(self) -> Self:
        if not self._plain:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, report: Report) -> None:
        """Show the newest report."""
        before, self._report = self._report, report
        self._remember(report)
        for text in unseen(before["events"] if before else [], report["events"]):
            self._tell(text)
        if not self._plain:
            self._draw()
            return
        for evaluation in _new_evaluations(before, report):
            self._print(evaluation_line(evaluation))
        changed = before is None or before["state"] != report["state"]
        if changed or report["wall_seconds"] >= self._line_due:
            self._line_due = report["wall_seconds"] + LINE_SECONDS
            self._print(progress_line(report, self._bottleneck()))

    def event(self, text: str) -> None:
        """Show something that happened outside of the head's reports."""
        self._tell(text)
        if not self._plain:
            self._draw()

    def _tell(self, text: str) -> None:
        self._events.append(text)
        if self._plain:
            self._print(text)

    def _print(self, text: str) -> None:
        time = wording.duration(self._report["wall_seconds"] if self._report else 0.0)
        line = f"[{time}] {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True, emoji=False)

    def _draw(self) -> None:
        if self._report is None:
            self._live.update(Text("\n".join(self._events)), refresh=True)
            return
        agents = self._history[-1].learners
        picture = panel.render(
            self._report,
            self._bottleneck(),
            {agent: self._recent_learner(agent) for agent in agents},
            list(self._events),
            min(panel.MAX_LINES, self._console.height - 1),
        )
        picture.width = min(panel.MAX_WIDTH, self._console.width)
        self._live.update(picture, refresh=True)

    def _remember(self, report: Report) -> None:
        learners = {learner["agent"]: learner["phases"] for learner in report["learners"]}
        now = report["wall_seconds"]
        self._history.append(_Snapshot(now, report["actors"]["phases"], learners))
        while len(self._history) > 1 and self._history[1].wall_seconds <= now - WINDOW_SECONDS:
            self._history.popleft()

    def _bottleneck(self) -> str:
        assert self._report is not None, "drawn only after a report"
        actors = increase(self._history[0].actors, self._history[-1].actors)
        learners = [self._recent_learner(agent) for agent in self._history[-1].learners]
        return wording.bottleneck(actors, learners, self._report["schedule"])

    def _recent_learner(self, agent: int) -> dict[str, float]:
        oldest, newest = self._history[0].learners, self._history[-1].learners
        return increase(oldest.get(agent, {}), newest[agent])


def increase(before: Phases, after: Phases) -> dict[str, float]:
    """Seconds added between two readings; a reading that fell began again from 0."""
    return {
        name: seconds - before.get(name, 0.0) if seconds >= before.get(name, 0.0) else seconds
        for name, seconds in after.items()
    }


def unseen(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """What was appended to a list that may have lost its oldest entries since."""
    for overlap in range(min(len(before), len(now)), 0, -1):
        if list(before[-overlap:]) == list(now[:overlap]):
            return list(now[overlap:])
    return list(now)


def _new_evaluations(before: Report | None, report: Report) -> list[dict[str, Any]]:
    """A run that was resumed starts with a long list: only its last one is news."""
    evaluations = report["evaluations"]
    if before is None:
        return list(evaluations[-1:])
    known = max((entry["env_steps"] for entry in before["evaluations"]), default=-1)
    return [entry for entry in evaluations if entry["env_steps"] > known]


def evaluation_line(evaluation: Mapping[str, Any]) -> str:
    """One evaluation in words."""
    return (
        f"evaluation at {evaluation['env_steps']:,} env steps: "
        f"win rate {wording.percent(evaluation['win_rate'])} of {evaluation['episodes']} episodes, "
        f"return {evaluation['return_mean']:.2f}"
    )


def starting_line(report: Report) -> str:
    """Who is there already, and who is waited for."""
    missing = [str(learner["agent"]) for learner in report["learners"] if not learner["alive"]]
    waiting = f"waiting for learner {', '.join(missing)}" if missing else "all learners are here"
    return f"starting: {report['actors']['alive']} actors are here; {waiting}"


def progress_line(report: Report, bottleneck: str) -> str:
    """One report in words."""
    if report["state"] == "starting":
        return starting_line(report)
    done, total = report["env_steps"], report["max_env_steps"]
    left = report["seconds_left"]
    parts = [
        f"{report['state']}: {done:,} of {total:,} env steps",
        f"{report['env_steps_per_second']:,.0f} env steps/s",
        f"iteration {report['iterations']:,}",
        f"lag {report['lag']}",
        f"win rate {wording.percent(report['win_rate'])}",
        f"{report['actors']['alive']} actors",
        f"ledger error {report['ledger']['error']}",
        bottleneck,
    ]
    if left is not None:
        parts.insert(1, f"{wording.duration(left)} left")
    return "; ".join(parts)
