"""The verdict on a disturbed run: each broken promise is a sentence, and none is overlooked."""

import dataclasses

import pytest

from launch import chaos_report
from launch.chaos_plan import Fault
from launch.chaos_report import Ending
from launch.chaos_run import Event

LEDGER = {"produced": 12, "trained": 9, "dropped": {"duplicate": 1}, "lost": {"actor_died": 2}}
SUMMARY = {
    "finished": True,
    "ledger": LEDGER | {"error": 0},
    "parameters_sha256": {"agent_0": "aa", "agent_1": "bb"},
}
WELL = Ending(exit_code=0, failure="", summary=SUMMARY, left=(), crashes=())
EVENTS = [
    Event(1.0, Fault("kill", "actor", 0.0, 0.1, 0.0, 0.0), "actor-0", True, 1.5),
    Event(2.0, Fault("kill", "actor", 0.9, 0.2, 0.0, 0.0), "actor-3", True, 2.25),
    Event(3.0, Fault("kill", "learner", 0.0, 0.3, 0.0, 0.0), "learner-1", True, 12.0),
    Event(4.0, Fault("kill", "head", 0.0, 0.4, 0.0, 0.0), note="no head was running"),
    Event(5.0, Fault("stop", "head", 0.0, 0.5, 0.0, 2.0), "head-0", True, note="for 2.0 s"),
]


def judged(twin=SUMMARY, **changes):
    return chaos_report.judge(7, EVENTS, dataclasses.replace(WELL, **changes), twin)


def test_a_run_that_kept_its_promises_is_well():
    verdict = judged()
    assert verdict.ok
    assert verdict.kills == {"actor": 2, "learner": 1}
    assert verdict.missed == 1
    assert verdict.longest_seconds == {"actor": 2.25, "learner": 12.0}
    assert verdict.hashes == "equal"
    assert verdict.to_json()["ok"] is True


def changed(**changes):
    return SUMMARY | changes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"exit_code": 1}, "exit code 1"),
        ({"failure": "no progress"}, "given up: no progress"),
        ({"summary": {}}, "did not finish"),
        ({"summary": {}}, "books do not close"),
        ({"summary": changed(finished=False)}, "did not finish"),
        ({"summary": changed(ledger=LEDGER | {"error": 1})}, "books do not close"),
        ({"summary": changed(ledger=LEDGER | {"error": 0, "trained": 8})}, "books do not close"),
        ({"summary": changed(parameters_sha256={"agent_0": "aa"})}, "parameters differ"),
        ({"left": (41, 42)}, "left behind: 41, 42"),
        ({"crashes": ("head-0 ended with exit code 1",)}, "nobody killed it: head-0"),
    ],
)
def test_a_broken_promise_is_named(changes, sentence):
    verdict = judged(**changes)
    assert not verdict.ok
    assert any(sentence in problem for problem in verdict.problems)
    assert sentence in chaos_report.text(verdict)
    assert "NOT WELL" in chaos_report.text(verdict)


def test_without_a_twin_hashes_are_not_compared():
    verdict = judged(twin=None)
    assert verdict.ok
    assert verdict.hashes == "not compared"


def test_two_runs_without_hashes_are_not_equal():
    nothing = changed(parameters_sha256={})
    assert judged(twin=nothing, summary=nothing).hashes == "different"


def test_the_text_tells_what_was_done_and_what_was_slow():
    text = chaos_report.text(judged())
    assert "3: actor 2, learner 1" in text
    assert "learner 12.0 s (bound 10 s, EXCEEDED)" in text
    assert "actor 2.2 s (bound 5 s)" in text
    assert "12 produced = 9 trained + 1 dropped + 2 lost, error 0" in text
    lines = [chaos_report.line(event) for event in EVENTS]
    assert "kill      learner-1  hit, back after 12.0 s" in lines[2]
    assert "kill      head       missed (no head was running)" in lines[3]
    assert "stop      head-0     hit (for 2.0 s)" in lines[4]


def test_only_ends_that_no_kill_explains_are_crashes():
    codes = {"a-0": -9, "b-0": 70, "c-0": 0, "d-0": 1, "e-0": 78, "f-0": -11}
    log = "\n".join(
        f"2026 INFO launch.supervisor ended name={name} exit_code={code} restarting=True"
        for name, code in codes.items()
    )
    assert chaos_report.crashes(log) == [
        "d-0 ended with exit code 1",
        "e-0 ended with exit code 78",
        "f-0 ended with exit code -11",
    ]
