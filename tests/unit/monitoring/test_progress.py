import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from monitoring import panel, progress
from monitoring.progress import ProgressView

MakeReport = Callable[..., dict[str, Any]]


class Screen:
    """A console that keeps what was written."""

    def __init__(self, *, terminal: bool, height: int = 24, encoding: str = "utf-8") -> None:
        self._file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
        self.console = Console(
            file=self._file,
            force_terminal=terminal,
            width=80,
            height=height,
            color_system=None,
            legacy_windows=False,
            _environ={"TERM": "xterm"},
        )

    @property
    def text(self) -> str:
        self._file.seek(0)
        return self._file.read()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def last_panel(self) -> list[str]:
        """The lines of the picture that was drawn last."""
        return ("╭" + self.text.rpartition("╭")[2]).splitlines()


def test_a_pipe_gets_plain_lines(make_report: MakeReport) -> None:
    screen = Screen(terminal=False)
    with ProgressView(screen.console) as view:
        view.update(make_report(evaluations=[]))
    assert screen.lines == [
        "[1:15] training: 250,000 of 1,000,000 env steps; 3:45 left; 3,333 env steps/s; "
        "iteration 12; lag 1; win rate 50 %; 32 actors; ledger error 0; "
        "learners are the bottleneck: busy 97 % of the time, actors wait 61 %"
    ]


def test_plain_lines_come_every_ten_seconds(make_report: MakeReport) -> None:
    screen = Screen(terminal=False)
    with ProgressView(screen.console) as view:
        for wall in range(0, 31):
            view.update(make_report(wall_seconds=float(wall), evaluations=[]))
    assert [line.split("]")[0] for line in screen.lines] == ["[0:00", "[0:10", "[0:20", "[0:30"]


def test_a_change_of_state_is_told_at_once(make_report: MakeReport) -> None:
    screen = Screen(terminal=False)
    with ProgressView(screen.console) as view:
        view.update(make_report(state="training", wall_seconds=1.0, evaluations=[]))
        view.update(make_report(state="draining", wall_seconds=2.0, evaluations=[]))
    assert len(screen.lines) == 2
    assert screen.lines[1].startswith("[0:02] draining: 250,000")


def test_each_evaluation_is_told_once(make_report: MakeReport) -> None:
    screen = Screen(terminal=False)
    first, second = make_report()["evaluations"]
    with ProgressView(screen.console) as view:
        for evaluations in ([], [first], [first], [first, second]):
            view.update(make_report(evaluations=evaluations))
    told = [line for line in screen.lines if "evaluation" in line]
    assert told == [
        "[1:15] evaluation at 50,000 env steps: win rate 75 % of 32 episodes, return 15.00",
        "[1:15] evaluation at 100,000 env steps: win rate 50 % of 32 episodes, return 12.50",
    ]


def test_a_resumed_run_does_not_repeat_its_evaluations(make_report: MakeReport) -> None:
    screen = Screen(terminal=False)
    with ProgressView(screen.console) as view:
        view.update(make_report())
    told = [line for line in screen.lines if "evaluation" in line]
    assert len(told) == 1
    assert "at 100,000 env steps" in told[0]


def test_each_event_is_told_once(make_report: MakeReport) -> None:
    screen = Screen(terminal=False)
    with ProgressView(screen.console) as view:
        view.event("starting 32 actors")
        view.update(make_report(events=["a", "b"]))
        view.update(make_report(events=["b", "c [bold]x"]))
    told = [line.split("] ", 1)[1] for line in screen.lines if "env steps" not in line]
    assert told == ["starting 32 actors", "a", "b", "c [bold]x"]


def test_plain_lines_are_ascii(make_report: MakeReport) -> None:
    screen = Screen(terminal=False, encoding="ascii")
    with ProgressView(screen.console) as view:
        view.update(make_report())
    assert screen.text.isascii()


def test_a_terminal_gets_a_panel(make_report: MakeReport) -> None:
    screen = Screen(terminal=True)
    with ProgressView(screen.console) as view:
        view.event("starting 32 actors")
        assert "starting 32 actors" in screen.text
        view.update(make_report())
    assert "╭─ 3m · dm2 · pipelined · quickstart · seed 7 ─" in screen.text
    assert "learners are the bottleneck: busy 97 % of the time, actors wait 61 %" in screen.text
    assert "· starting 32 actors" in screen.text


@pytest.mark.parametrize(("plain", "encoding"), [(True, "utf-8"), (False, "ascii")])
def test_a_terminal_gets_plain_lines_where_asked_or_needed(
    make_report: MakeReport, plain: bool, encoding: str
) -> None:
    screen = Screen(terminal=True, encoding=encoding)
    with ProgressView(screen.console, plain=plain) as view:
        view.update(make_report(evaluations=[]))
    assert len(screen.lines) == 1
    assert screen.lines[0].startswith("[1:15] training: ")


def test_only_the_last_three_events_stay(make_report: MakeReport) -> None:
    screen = Screen(terminal=True)
    with ProgressView(screen.console) as view:
        view.update(make_report(events=[f"event {number}" for number in range(5)]))
    assert [line.strip("│ ") for line in screen.last_panel if "event " in line] == [
        "· event 2",
        "· event 3",
        "· event 4",
    ]


def test_a_low_terminal_gets_fewer_lines(make_report: MakeReport) -> None:
    report = make_report()
    report["learners"] = [report["learners"][0] | {"agent": agent} for agent in range(8)]
    screen = Screen(terminal=True, height=14)
    with ProgressView(screen.console) as view:
        view.update(report)
    drawn = [line for line in screen.last_panel if line.startswith(("╭", "│", "╰"))]
    assert drawn[-1].startswith("╰")
    assert len(drawn) <= 13
    assert any("more like these" in line for line in drawn)


def test_shares_are_those_of_the_last_seconds(
    make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        panel, "render", lambda report, sentence, phases, *rest: seen.append(phases) or _blank()
    )
    screen = Screen(terminal=True)
    with ProgressView(screen.console) as view:
        for wall in range(0, 100, 5):
            report = make_report(wall_seconds=float(wall))
            collected, trained = min(wall, 50.0), max(0.0, wall - 50.0)
            for learner in report["learners"]:
                learner["phases"] = {"wait_data": collected, "ppo": trained}
            view.update(report)
    assert seen[5] == {0: {"wait_data": 20.0, "ppo": 0.0}, 1: {"wait_data": 20.0, "ppo": 0.0}}
    assert seen[-1] == {0: {"wait_data": 0.0, "ppo": 20.0}, 1: {"wait_data": 0.0, "ppo": 20.0}}


def _blank() -> Any:
    return panel.Panel("")


def test_a_reading_that_fell_began_again() -> None:
    assert progress.increase({"ppo": 5.0, "send": 1.0}, {"ppo": 2.0, "send": 1.5}) == {
        "ppo": 2.0,
        "send": 0.5,
    }
    assert progress.increase({}, {"ppo": 2.0}) == {"ppo": 2.0}


@given(
    st.lists(st.integers(), unique=True, max_size=12),
    st.integers(0, 12),
    st.integers(1, 6),
)
def test_unseen_is_what_was_appended_to_a_bounded_list(
    history: list[int], split: int, room: int
) -> None:
    texts = [str(number) for number in history]
    before, now = texts[:split][-room:], texts[-room:]
    assert progress.unseen(before, now) == [text for text in now if text not in before]
