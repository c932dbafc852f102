"""One event, one line: in a file as JSON, on a terminal as key=value; both can be read back."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist import log_line
from dm2_dist.log_line import JsonLines, KeyValueLines, Origin

ORIGIN = Origin("actor-3", 17)


def record(template, *arguments, level=logging.INFO, error=None):
    found = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("actors.main", level, __file__, 1, template, arguments, found)


def as_json(*words, **more):
    return json.loads(JsonLines(ORIGIN).format(record(*words, **more)))


def test_event_and_fields_come_from_the_sentence():
    line = as_json("started name=%s pid=%s share=%.1f ok=%s", "actor-3", 12, 0.25, True)
    assert line["event"] == "started"
    assert line["fields"] == {"name": "actor-3", "pid": 12, "share": 0.25, "ok": True}
    assert line["message"] == "started name=actor-3 pid=12 share=0.2 ok=True"
    assert (line["role"], line["incarnation"], line["level"]) == ("actor-3", 17, "INFO")
    assert line["logger"] == "actors.main"


@pytest.mark.parametrize(
    ("words", "event", "fields"),
    [
        (
            ("degraded reason=%s; trying again in %.2f s", "full", 1.0),
            "degraded",
            {"reason": "full"},
        ),
        (("head failed",), "head failed", {}),
        (("event: %s", "x"), "event", {}),
        (("%s", "x"), "message", {}),
        (("100%% of %s free=%s", "a", 3), "100%% of", {"free": 3}),
        (("peer=%r", b"\x00"), "message", {"peer": "b'\\x00'"}),
        (("speed=%s", float("nan")), "message", {"speed": "nan"}),
    ],
)
def test_what_is_no_field_stays_in_the_message(words, event, fields):
    line = as_json(*words)
    assert (line["event"], line["fields"]) == (event, fields)


@given(st.text(), st.one_of(st.text(), st.binary(), st.floats(), st.integers(), st.none()))
def test_whatever_is_said_is_one_line_and_comes_back(word, value):
    text = JsonLines(ORIGIN).format(record("heard word=%s value=%s", word, value))
    assert len(text.splitlines()) == 1
    assert json.loads(text)["fields"]["word"] == word
    shown = KeyValueLines(ORIGIN).format(record("heard word=%s value=%s", word, value))
    assert len(shown.splitlines()) == 1
    assert shown.isprintable() or all(c.isprintable() or ord(c) > 0x9F for c in shown)


def failure():
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        return error


def test_a_traceback_is_in_the_file_and_never_on_the_terminal():
    error = failure()
    line = as_json("actor failed", level=logging.ERROR, error=error)
    assert line["exception"].startswith("Traceback")
    shown = KeyValueLines(ORIGIN).format(record("actor failed", error=error))
    assert "Traceback" not in shown
    assert shown.endswith(
        "INFO role=actor-3 incarnation=17 actor failed error=ValueError: first\\nsecond"
    )


def write(path, *records):
    path.write_text("".join(f"{JsonLines(ORIGIN).format(each)}\n" for each in records))
    return path


def test_the_cause_of_an_end_is_the_last_error_since_the_start(tmp_path):
    begin = record("begin pid=%s", 1)
    old = record("old", level=logging.ERROR)
    died = record("actor failed", level=logging.ERROR, error=failure())
    after = record("said afterwards")
    log = tmp_path / "actor-3.log"
    assert log_line.last_cause(log) == ""
    assert log_line.last_cause(write(log, old, begin, after)) == "said afterwards"
    assert log_line.last_cause(write(log, begin, died, after)) == "second"
    mended = record("agent %s is out of memory", 1, level=logging.ERROR)
    assert log_line.last_cause(write(log, begin, died, mended)) == "agent 1 is out of memory"


def test_logs_of_earlier_versions_are_read(tmp_path):
    log = tmp_path / "learner-1.log"
    log.write_text(
        "2026-11-21 10:00:00,000 INFO learners.main begin pid=3\n"
        "2026-11-21 10:00:01,000 ERROR learner-1 learner failed\n"
        "Traceback (most recent call last):\n"
        "KeyError: 'x'\n"
    )
    assert log_line.last_cause(log) == "KeyError: 'x'"
    assert [line.level for line in log_line.read(log)] == ["INFO", "ERROR", "", ""]
    assert next(log_line.read(log)).message == "begin pid=3"


def test_a_torn_or_a_strange_line_is_text(tmp_path):
    log = tmp_path / "x.log"
    log.write_bytes(
        b'{"level": "INF\n[1]\n{"fields": 3}\n\xff\n\n' + b"[" * sys.getrecursionlimit()
    )
    assert [line.message for line in log_line.read(log)][:3] == [
        '{"level": "INF',
        "[1]",
        '{"fields": 3}',
    ]


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    log = write(tmp_path / "x.log", *(record("line number=%s", n) for n in range(100)))
    found = [line.fields["number"] for line in log_line.read(log, 1000)]
    assert 0 < len(found) < 10
    assert found[-1] == 99
