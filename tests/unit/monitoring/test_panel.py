import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from monitoring import panel

MakeReport = Callable[..., dict[str, Any]]


def lines(report: dict[str, Any], bottleneck: str = "all is well", **options: Any) -> list[str]:
    console = Console(width=80, height=24, force_terminal=True, record=True, file=io.StringIO())
    phases = {learner["agent"]: learner["phases"] for learner in report["learners"]}
    console.print(panel.render(report, bottleneck, phases, report["events"], **options))
    return console.export_text().splitlines()


def line_with(text: str, rendered: list[str]) -> str:
    [found] = [line for line in rendered if text in line]
    return found


def test_it_shows_a_run_at_a_glance(make_report: MakeReport) -> None:
    rendered = lines(make_report(events=["actor-3 died, started again"]))
    assert "3m · dm2 · pipelined · quickstart · seed 7" in rendered[0]
    assert "250,000 / 1,000,000 env steps  25 %" in rendered[1]
    assert "training 1:15, 3:45 left · 3,333 env steps/s · iteration 12 · lag 1" in rendered[2]
    assert "win rate  50 % · best 75 % · return 12.50  ▇▅" in line_with("win rate", rendered)
    assert "32 alive, 20 playing, 12 waiting" in line_with("actors", rendered)
    assert "1,000 = 900 trained + 0 dropped + 0 lost + 100 open" in line_with("ledger", rendered)
    assert line_with("all is well", rendered)
    assert line_with("· actor-3 died, started again", rendered)
    assert "runs/r1" in rendered[-1]


def test_one_row_per_learner(make_report: MakeReport) -> None:
    rendered = lines(make_report())
    header = line_with("version", rendered).split()
    assert header[1:-1] == ["learner", "version", "doing", "loss", "entropy", "KL", "accuracy"]
    row = line_with("agent 1", rendered).split()
    assert row[1:-1] == ["agent", "1", "12", "ppo", "60", "%", "-0.013", "1.25", "0.0042", "0.71"]


def test_no_accuracy_without_discriminators(make_report: MakeReport) -> None:
    report = make_report()
    for learner in report["learners"]:
        del learner["metrics"]["discriminator_accuracy"]
    assert not [line for line in lines(report) if "accuracy" in line]


def test_a_dead_learner_is_down(make_report: MakeReport) -> None:
    report = make_report()
    report["learners"][1] |= {"alive": False, "metrics": {}}
    row = line_with("agent 1", lines(report)).split()
    assert row[1:-1] == ["agent", "1", "12", "down", "-", "-", "-", "-"]


def test_drops_losses_and_restarts_are_named(make_report: MakeReport) -> None:
    report = make_report(restarts={"actor": 2, "learner": 0, "head": 0})
    report["ledger"] |= {"dropped": {"stale": 4}, "lost": {"actor_died": 2}, "in_flight": 94}
    report["ledger"]["in_doubt"] = 1
    rendered = lines(report)
    assert "1,000 = 900 trained + 4 dropped + 2 lost + 94 open" in line_with("ledger", rendered)
    assert line_with("stale 4, actor_died 2, in doubt 1", rendered)
    assert "restarted: actor 2" in line_with("actors", rendered)


def test_an_open_ledger_does_not_pretend_to_be_exact(make_report: MakeReport) -> None:
    report = make_report()
    report["ledger"]["in_flight"] = 98
    assert "1,000 ≈ 900 trained" in line_with("ledger", lines(report))


def test_a_ledger_error_is_shouted(make_report: MakeReport) -> None:
    report = make_report()
    report["ledger"] |= {"error": 3, "in_flight": 97}
    assert "1,000 = 900 trained" in line_with("+ 3 UNACCOUNTED", lines(report))


def test_a_run_that_just_started(make_report: MakeReport) -> None:
    rendered = lines(
        make_report(
            state="starting",
            env_steps=0,
            seconds_left=None,
            win_rate=None,
            win_rate_best=None,
            return_mean=None,
            evaluations=[],
            learners=[],
        )
    )
    assert "starting 1:15 ·" in rendered[2]
    assert "not evaluated yet" in line_with("win rate", rendered)
    assert line_with("no learner is here yet", rendered)


def test_the_demonstrators_level_is_marked(make_report: MakeReport) -> None:
    row = line_with("win rate", lines(make_report(demonstrators=0.6)))
    assert "50 % · best 75 % · demonstrators 60 % · return 12.50  ▇▅│▅" in row
    console = Console(width=80, force_terminal=True, color_system="standard", file=io.StringIO())
    with console.capture() as capture:
        console.print(panel.render(make_report(demonstrators=0.6), "", {}, []))
    assert "\x1b[1;92m▇\x1b[0m\x1b[32m▅\x1b[0m\x1b[33m│▅" in capture.get()


def test_many_evaluations_leave_room_for_the_level(make_report: MakeReport) -> None:
    report = make_report(demonstrators=1.0)
    report["evaluations"] *= 100
    row = line_with("win rate", lines(report))
    assert row.endswith("│█ │")
    assert "…" not in row
    wide = Console(width=120, height=40, force_terminal=True, record=True, file=io.StringIO())
    wide.print(panel.render(report, "", {}, [], (120, 39)))
    assert len(re.findall("[▅▇]", wide.export_text())) == 48


def test_the_silent_are_named(make_report: MakeReport) -> None:
    rendered = lines(make_report(silent={"actor-3": 4.4, "learner-1": 72.0}))
    assert "actor-3 for 4 s, learner-1 for 1:12" in line_with("silent ", [rendered[6]])
    assert "silent 1:12" in line_with("agent 1", rendered)
    assert "silent" not in line_with("agent 0", rendered)


def test_lag_is_told_where_it_is_measured(make_report: MakeReport) -> None:
    report = make_report(schedule="async", lag=4)
    report["learners"][0]["metrics"] |= {"lag_mean": 1.0, "lag_max": 3.0}
    report["learners"][0]["metrics"]["effective_sample_size"] = 0.99
    report["learners"][1]["metrics"] |= {
        **{"lag_mean": 2.0, "lag_max": 4.0, "peer_lag_mean": 0.5, "peer_lag_max": 2.0},
        "effective_sample_size": 0.93,
    }
    rendered = lines(report)
    row = line_with("lag   ", rendered)
    assert "own 1.5, max 4 · others' 0.5, max 2 · effective sample 93 %" in row
    assert "lag ≤ 4" in rendered[2]
    assert not [line for line in lines(make_report()) if "lag   " in line]


def test_a_wide_terminal_shows_more_of_each_learner(make_report: MakeReport) -> None:
    report = make_report()
    for learner in report["learners"]:
        learner["metrics"] |= {"value_loss": 0.5, "discriminator_loss": 1.25}
        learner["metrics"] |= {"lag_mean": 1.0, "lag_max": 3.0}
    console = Console(width=120, height=40, force_terminal=True, record=True, file=io.StringIO())
    console.print(panel.render(report, "", {}, [], (120, 39)))
    rendered = console.export_text().splitlines()
    assert {len(line) for line in rendered} == {120}
    assert line_with("version", rendered).split()[3:-1] == [
        *("doing", "loss", "value", "entropy", "KL", "discr.", "accuracy", "lag", "(max)")
    ]
    assert line_with("agent 0", rendered).split()[-5:-1] == ["1.250", "0.71", "1.0", "(3)"]


def test_a_run_that_is_over_says_so(make_report: MakeReport) -> None:
    report = make_report(state="cut off", phase="over", seconds_left=None)
    for learner in report["learners"]:
        learner["alive"] = None
    report["restarts"]["actor"] = 2
    rendered = lines(report)
    assert "cut off after 1:15 · 3,333 env steps/s" in rendered[2]
    assert "restarted: actor 2" in line_with("processes", rendered)
    assert not [line for line in rendered if "alive" in line or "down" in line]


def test_learners_that_have_not_come_yet_are_not_down(make_report: MakeReport) -> None:
    report = make_report(state="starting")
    report["learners"][1] |= {"alive": False, "metrics": {}}
    assert "not here yet" in line_with("agent 1", lines(report))


def test_a_number_that_is_none_is_shown_in_red(make_report: MakeReport) -> None:
    report = make_report()
    report["learners"][0]["metrics"]["policy_loss"] = float("nan")
    console = Console(width=80, force_terminal=True, color_system="standard", file=io.StringIO())
    with console.capture() as capture:
        console.print(panel.render(report, "", {}, []))
    assert re.search(r"\x1b\[1;31m *nan", capture.get())


def test_markup_in_an_event_is_only_text(make_report: MakeReport) -> None:
    assert line_with("[red]x[/red]", lines(make_report(events=["[red]x[/red]"])))


def test_the_sick_learners_are_shown_when_there_are_too_many(make_report: MakeReport) -> None:
    report = make_report()
    example = report["learners"][0]
    report["learners"] = [example | {"agent": agent, "alive": agent != 26} for agent in range(27)]
    rendered = lines(report)
    assert len(rendered) <= 20
    assert "down" in line_with("agent 26", rendered)
    shown = len([line for line in rendered if "agent " in line])
    assert line_with(f"and {27 - shown} more", rendered)


def test_air_where_there_is_room_only(make_report: MakeReport) -> None:
    def blanks(rendered: list[str]) -> int:
        return len([line for line in rendered if not line.strip("│ ")])

    assert blanks(lines(make_report())) == 2
    assert blanks(lines(make_report(), size=(80, 12))) == 0
    assert len(lines(make_report(), size=(80, 12))) == 12 - 1


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    agents=st.integers(0, 30),
    events=st.lists(st.text(st.characters(categories=["L", "N", "P", "Zs"])), max_size=3),
    produced=st.integers(0, 10**9),
    dropped=st.dictionaries(st.sampled_from(["stale", "corrupt"]), st.integers(0, 10**6)),
    loss=st.floats(allow_nan=True, allow_infinity=True),
)
def test_it_never_outgrows_its_place(
    make_report: MakeReport,
    agents: int,
    events: list[str],
    produced: int,
    dropped: dict[str, int],
    loss: float,
) -> None:
    report = make_report(events=events)
    example = report["learners"][0]
    example["metrics"]["policy_loss"] = loss
    report["learners"] = [example | {"agent": agent} for agent in range(agents)]
    report["ledger"] |= {"produced": produced, "dropped": dropped}
    rendered = lines(report)
    assert len(rendered) <= 20
    assert {len(line) for line in rendered if line.isascii()} <= {80}
    assert rendered[0].startswith("╭")
    assert rendered[-1].startswith("╰")


@pytest.mark.parametrize("state", ["starting", "training", "draining", "finished", "failed"])
def test_every_state_is_named(make_report: MakeReport, state: str) -> None:
    pace = lines(make_report(state=state))[2]
    assert pace.startswith(f"│ {state} 1:15")
    assert ("left" in pace) == (state in ("starting", "training"))
