import io
import json
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


def events_of(screen: Screen) -> list[str]:
    return [line.strip("│ ") for line in screen.last_panel if "event " in line]


def test_the_newest_events_stay_as_far_as_there_is_room(make_report: MakeReport) -> None:
    report = make_report(events=[f"event {number}" for number in range(10)])
    for height, shown in ((14, 3), (20, 5), (40, 8)):
        screen = Screen(terminal=True, height=height)
        with ProgressView(screen.console) as view:
            view.update(report)
        assert events_of(screen) == [f"· event {number}" for number in range(10 - shown, 10)]


def test_a_long_event_takes_two_lines_at_most(make_report: MakeReport) -> None:
    screen = Screen(terminal=True)
    with ProgressView(screen.console) as view:
        view.update(make_report(events=["event 1", "event 2 " + "word " * 40]))
    first, second = events_of(screen)
    assert (first, second) == ("· event 1", f"· event 2 {'word ' * 13}".rstrip())
    [rest] = [line for line in screen.last_panel if line.startswith("│   word")]
    assert rest.rstrip("│ ").endswith("…")


def test_escape_codes_in_an_event_are_harmless(make_report: MakeReport) -> None:
    screen = Screen(terminal=False)
    with ProgressView(screen.console) as view:
        view.event("\x1b[2Jgone\nagain")
        view.update(make_report(events=["\x07ding"]))
    assert "[0:00] ?[2Jgone again" in screen.lines
    assert any(line.endswith("?ding") for line in screen.lines)


def objects(screen: Screen) -> list[dict[str, Any]]:
    return [json.loads(line) for line in screen.lines]


def test_json_lines_say_everything_and_the_news_once(make_report: MakeReport) -> None:
    screen = Screen(terminal=True)  # asked for, it is also written to a terminal
    first, second = make_report()["evaluations"]
    with ProgressView(screen.console, json=True) as view:
        view.event("starting 32 actors")
        view.update(make_report(wall_seconds=1.0, evaluations=[first], events=["a"]))
        view.update(make_report(wall_seconds=2.0, evaluations=[first], events=["a"]))
        view.update(make_report(wall_seconds=3.0, evaluations=[first, second], events=["a", "b"]))
        view.update(make_report(wall_seconds=11.0, evaluations=[first, second], events=["a", "b"]))
    event, *told = objects(screen)
    assert event == {"kind": "event", "wall_seconds": 0.0, "text": "starting 32 actors"}
    assert [line["wall_seconds"] for line in told] == [1.0, 3.0, 11.0]
    assert [line["events"] for line in told] == [["a"], ["b"], []]
    assert [line["evaluations"] for line in told] == [[first], [second], []]
    assert told[0].keys() == make_report().keys() | {"kind", "bottleneck"}
    assert told[0]["bottleneck"].startswith("learners are the bottleneck")


def test_json_has_null_for_what_is_not_a_number(make_report: MakeReport) -> None:
    report = make_report()
    report["learners"][0]["metrics"] = {"policy_loss": float("nan"), "entropy": float("-inf")}
    screen = Screen(terminal=False)
    with ProgressView(screen.console, json=True) as view:
        view.update(report)
    assert objects(screen)[0]["learners"][0]["metrics"] == {"policy_loss": None, "entropy": None}


def test_plain_lines_name_the_silent(make_report: MakeReport) -> None:
    screen = Screen(terminal=False)
    with ProgressView(screen.console) as view:
        view.update(make_report(silent={"actor-3": 4.2}))
    assert "; 32 actors; silent: actor-3 for 4 s; " in screen.text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_one_report_can_be_printed_alone(make_report: MakeReport, encoding: str) -> None:
    screen = Screen(terminal=False, encoding=encoding)
    report = make_report(demonstrators=0.8, events=["a", "b"], silent={"learner-1": 72.0})
    progress.show_once(report, screen.console, plain=False, json=False)
    text = screen.text
    bars = "▇▅│▇" if encoding == "utf-8" else "64|6"
    assert f"return 12.50  {bars}\n" in text
    assert "silent    learner-1 for 1:12" in text
    assert "250,000 of 1,000,000 env steps, 25 %" in text
    assert "learners are the bottleneck: busy 97 % of the time, actors wait 61 %" in text
    assert text.splitlines()[-2:] == (["· a", "· b"] if encoding == "utf-8" else ["- a", "- b"])
    assert not any(line.endswith(" ") for line in screen.lines)


def test_one_report_on_a_terminal_is_a_panel(make_report: MakeReport) -> None:
    screen = Screen(terminal=True)
    progress.show_once(make_report(), screen.console, plain=False, json=False)
    assert screen.lines[0].startswith("╭─ 3m · dm2")
    plain = Screen(terminal=True)
    progress.show_once(make_report(), plain.console, plain=True, json=False)
    assert plain.lines[0].startswith("3m · dm2")


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
