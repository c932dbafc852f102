"""The terminal's view of a run: a calm live panel, plain lines where nobody watches, or JSON lines.

Knows no sockets and no clock: it is fed with the head's status reports, whose `wall_seconds` is the
only time it sees. Fed by the launcher and `launch.watch`; drawn by `monitoring.panel`, written as
JSON by `monitoring.json_line`.
"""

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from monitoring import json_line, panel, wording
from monitoring.summary import summary_text
from monitoring.wording import Phases

__all__ = ["ProgressView", "summary_text"]

Report = Mapping[str, Any]
"""The head's status report."""

LINE_SECONDS = 10.0
"""Between two plain lines."""
WINDOW_SECONDS = 20.0
"""Time shares are those of so many seconds."""
NUM_EVENTS = 8
"""The newest ones are kept; a low terminal shows fewer."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    wall_seconds: float
    actors: Phases
    learners: Mapping[int, Phases]


class ProgressView:
    """Shows reports and events while the context lasts."""

    def __init__(
        self, console: Console | None = None, *, plain: bool = False, json: bool = False
    ) -> None:
        """A console that is no terminal, or cannot show the signs, gets plain lines anyway."""
        self._console = console or Console()
        self._json = json
        self._plain = plain or json or not shows_pictures(self._console)
        self._live = Live(
            console=self._console, auto_refresh=False, vertical_overflow="crop", transient=False
        )
        self._report: Report | None = None
        self._events: deque[str] = deque(maxlen=NUM_EVENTS)
        self._history = deque([_Snapshot(0.0, {}, {})])
        self._line_due = 0.0
        self._lock = threading.Lock()

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
        with self._lock:
            self._update(report)

    def _update(self, report: Report) -> None:
        before, self._report = self._report, report
        self._remember(report)
        events = unseen(before["events"] if before else [], report["events"])
        evaluations = _new_evaluations(before, report)
        if not self._json:
            for text in events:
                self._tell(text)
        if not self._plain:
            self._draw()
            return
        changed = before is None or before["state"] != report["state"]
        due = changed or report["wall_seconds"] >= self._line_due
        if self._json and (due or events or evaluations):
            news = {"events": events, "evaluations": evaluations}
            self._out(json_line.status({**report, **news}, self._bottleneck()))
        elif not self._json:
            for evaluation in evaluations:
                self._print(evaluation_line(evaluation))
            if due:
                self._print(progress_line(report, self._bottleneck()))
        if due:
            self._line_due = report["wall_seconds"] + LINE_SECONDS

    def event(self, text: str) -> None:
        """Show something that happened outside of the head's reports; from any thread."""
        with self._lock:
            self._tell(text)
            if not self._plain:
                self._draw()

    def _tell(self, text: str) -> None:
        text = wording.clean(text)
        self._events.append(text)
        if self._json:
            self._out(json_line.event(text, self._wall_seconds))
        elif self._plain:
            self._print(text)

    @property
    def _wall_seconds(self) -> float:
        return float(self._report["wall_seconds"]) if self._report else 0.0

    def _print(self, text: str) -> None:
        self._out(f"[{wording.duration(self._wall_seconds)}] {text}")

    def _out(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True, emoji=False)

    def _draw(self) -> None:
        if self._report is None:
            self._live.update(Text("\n".join(self._events)), refresh=True)
            return
        picture = panel.render(
            self._report,
            self._bottleneck(),
            {agent: self._recent_learner(agent) for agent in self._history[-1].learners},
            list(self._events),
            (self._console.width, self._console.height - 1),
        )
        # The cursor waits on a line of its own, where a terminal may echo ^C without scrolling.
        self._live.update(Group(picture, Text("")), refresh=True)

    def _remember(self, report: Report) -> None:
        learners = {learner["agent"]: learner["phases"] for learner in report["learners"]}
        now = report["wall_seconds"]
        self._history.append(_Snapshot(now, report["actors"]["phases"], learners))
        while len(self._history) > 1 and self._history[1].wall_seconds <= now - WINDOW_SECONDS:
            self._history.popleft()

    def _bottleneck(self) -> str:
        assert self._report is not None, "drawn only after a report"
        if panel.is_over(self._report):
            return since_start(self._report)[0]
        actors = increase(self._history[0].actors, self._history[-1].actors)
        learners = [self._recent_learner(agent) for agent in self._history[-1].learners]
        return wording.bottleneck(actors, learners, self._report["schedule"])

    def _recent_learner(self, agent: int) -> dict[str, float]:
        oldest, newest = self._history[0].learners, self._history[-1].learners
        return increase(oldest.get(agent, {}), newest[agent])


def shows_pictures(console: Console) -> bool:
    """Whether this is a terminal that can move its cursor and has the signs of the panel."""
    capable = console.is_terminal and not console.is_dumb_terminal
    return capable and console.encoding.lower().startswith("utf")


def since_start(report: Report) -> tuple[str, dict[int, Phases]]:
    """What one report alone tells: the bottleneck's sentence, and each learner's seconds."""
    learners = {learner["agent"]: learner["phases"] for learner in report["learners"]}
    if panel.is_over(report) and not report["time_share"]["learner"]:
        return "where its time went was not written down", learners
    parts = [report["time_share"]["learner"]] if panel.is_over(report) else learners.values()
    sentence = wording.bottleneck(report["actors"]["phases"], list(parts), report["schedule"])
    return sentence, learners


def show_once(report: Report, console: Console, *, plain: bool, json: bool) -> None:
    """Print one report, with all its evaluations and events, in the form that was asked for."""
    sentence, learners = since_start(report)
    if json:
        console.print(
            json_line.status(report, sentence), markup=False, highlight=False, soft_wrap=True
        )
    elif plain or not shows_pictures(console):
        ascii_only = not console.encoding.lower().startswith("utf")
        text = panel.lines(report, sentence, learners, ascii_only=ascii_only)
        console.print(text, markup=False, highlight=False, soft_wrap=True, emoji=False)
    else:
        events = [wording.clean(text) for text in report["events"]][-NUM_EVENTS:]
        console.print(
            panel.render(report, sentence, learners, events, (console.width, panel.MAX_LINES))
        )


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
    left = wording.left(report)
    parts = [
        f"{report['state']}: {done:,} of {total:,} env steps",
        f"{report['env_steps_per_second']:,.0f} env steps/s",
        f"iteration {report['iterations']:,}",
        f"lag {report['lag']}",
        f"win rate {wording.percent(report['win_rate'])}",
        f"{report['actors']['alive']} actors",
        *([f"silent: {wording.silence(report['silent'])}"] if report["silent"] else []),
        f"ledger error {report['ledger']['error']}",
        bottleneck,
    ]
    if left:
        parts.insert(1, left)
    return "; ".join(parts)
