"""What the head says of the processes of a run: who is silent, and of what somebody died."""

from pathlib import Path

import pytest

from dm2_dist.comms import messages
from launch import overview, status
from launch.status import Peer

TRACEBACK = """\
2026-01-01 10:00:00,000 ERROR learner-1 learner failed
Traceback (most recent call last):
  File "x.py", line 1, in <module>
ValueError: the demonstrations \x1b[31mare gone
"""


def peer(last_heard: float) -> Peer:
    source = messages.Source(name="actor-0", incarnation=1)
    hello = messages.Hello(protocol=1, source=source, role="actor", pid=1)
    return Peer(b"", hello, last_heard)


def test_the_silent_are_named_the_longest_first() -> None:
    heard = {"actor-0": 99.0, "actor-1": 96.0, "learner-0": 28.0}
    peers = {name: peer(when) for name, when in heard.items()}
    assert status.silent(peers, 100.0) == {"learner-0": 72.0, "actor-1": 4.0}
    assert list(status.silent(peers, 100.0)) == ["learner-0", "actor-1"]
    crowd = {f"actor-{number}": peer(0.0) for number in range(100)}
    assert len(status.silent(crowd, 100.0)) == 8


@pytest.mark.parametrize(
    ("code", "cause"),
    [(-9, "signal 9 (SIGKILL)"), (-11, "signal 11 (SIGSEGV)"), (-64 - 20, "signal 84")],
)
def test_a_killed_process_is_told_with_its_signal(tmp_path: Path, code: int, cause: str) -> None:
    sentence = status.death("actor-3", code, tmp_path)
    assert sentence == f"actor-3 was killed by {cause}; its log is {tmp_path / 'actor-3.log'}"


def test_an_error_is_told_in_one_clause(tmp_path: Path) -> None:
    log = tmp_path / "learner-1.log"
    log.write_text(TRACEBACK)
    assert status.death("learner-1", 1, tmp_path) == (
        f"learner-1 failed: ValueError: the demonstrations ?[31mare gone; see {log}"
    )
    log.write_text("KeyError: " + "x" * 1000)
    assert len(status.death("learner-1", 1, tmp_path)) < 300


def test_a_process_without_a_log_is_told_too(tmp_path: Path) -> None:
    assert "no log at" in status.death("learner-1", 1, tmp_path)


def test_the_demonstrators_level_comes_from_their_card(tmp_path: Path) -> None:
    assert overview._level_of(str(tmp_path / "gone")) is None
