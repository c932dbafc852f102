"""Logs of bounded size, and warnings that are counted instead of repeated."""

import json
import logging
import subprocess
import sys
import time

import pytest

from dm2_dist import log_file
from dm2_dist.log_file import Limits, LimitsError, LogFile
from dm2_dist.log_line import Origin

FLOOD = """
import multiprocessing, sys
from pathlib import Path
from dm2_dist import child

def flood(folder):
    logger = child.begin("actor-1", Path(folder), 5)
    for _ in range(500):
        logger.warning("refused reason=%s", "stale")
    logger.info("done")

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=flood, args=(sys.argv[1],))
    process.start()
    process.join()
"""
THREAD = """
import sys, threading, warnings
from pathlib import Path
from dm2_dist import child
child.begin("learner-1", Path(sys.argv[1]), 9)
warnings.warn("old\\nway")
thread = threading.Thread(target=lambda: 1 / 0, name="intake")
thread.start()
thread.join()
"""


@pytest.fixture
def open_log(tmp_path):
    opened = []

    def make(limits=None):
        handler = LogFile(
            tmp_path / "head-0.log", Origin("head-0", 1), limits or Limits(), pytest.fail
        )
        logger = logging.Logger(f"test-{len(opened)}")
        logger.addHandler(handler)
        opened.append(handler)
        return logger

    yield make
    for handler in opened:
        handler.filters[0].tell()
        handler.close()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("files", [1, 2, 3])
def test_the_files_stay_small_and_few_and_keep_the_newest_lines(open_log, tmp_path, files):
    for _ in range(2):  # a second process goes on in the same file
        logger = open_log(Limits(2000, files))
        for number in range(100):
            logger.info("line number=%s", number)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["head-0.log", "head-0.log.1", "head-0.log.2"][:files]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    numbers = [
        line["fields"]["number"] for name in reversed(found) for line in lines(tmp_path / name)
    ]
    assert numbers == list(range(100))[-len(numbers) :]
    assert len(numbers) > 5 * files


def test_repeated_warnings_are_one_line_and_a_count(open_log, tmp_path):
    logger = open_log()
    for _ in range(38):
        logger.warning("refused reason=%s", "stale")
    path = tmp_path / "head-0.log"
    assert [line["message"] for line in lines(path)] == ["refused reason=stale"]
    deadline = time.monotonic() + 30
    while len(lines(path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert lines(path)[1]["repeated"] == 37
    assert lines(path)[1]["message"] == "refused reason=stale repeated=37"
    logger.warning("refused reason=%s", "stale")  # a new window
    assert len(lines(path)) == 3


def test_a_flood_of_different_warnings_of_one_kind_is_counted_too(open_log, tmp_path):
    logger = open_log()
    for number in range(1000):
        logger.warning("refused peer=%s", number)
        logger.info("committed version=%s", number)
    logger.handlers[0].filters[0].tell()
    found = lines(tmp_path / "head-0.log")
    refused = [line for line in found if line["event"] == "refused"]
    assert [line["fields"]["peer"] for line in refused] == [*range(10), 999]
    assert refused[-1]["repeated"] == 990
    assert len(found) == 1000 + 11  # what is no warning is never held back


def test_warnings_of_another_kind_are_not_held_back(open_log, tmp_path):
    logger = open_log()
    for template in ("one", "two", "one"):
        logger.warning(template)
    logger.error("one")
    assert [line["event"] for line in lines(tmp_path / "head-0.log")] == ["one", "two", "one"]


def run(program, folder):
    file = folder / "program.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, str(file), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""


def test_the_count_is_not_lost_when_a_child_ends(tmp_path):
    run(FLOOD, tmp_path)
    found = lines(tmp_path / "actor-1.log")
    assert [line["event"] for line in found] == ["begin", "refused", "done", "refused"]
    assert found[-1]["repeated"] == 499
    assert {(line["role"], line["incarnation"]) for line in found} == {("actor-1", 5)}


def test_threads_that_fail_and_warnings_are_in_the_log_not_on_the_terminal(tmp_path):
    run(THREAD, tmp_path)
    _, warned, failed = lines(tmp_path / "learner-1.log")
    assert (warned["level"], warned["logger"]) == ("WARNING", "py.warnings")
    assert "old\nway" in warned["message"]
    assert (failed["event"], failed["fields"]) == ("thread_failed", {"name": "intake"})
    assert failed["exception"].endswith("ZeroDivisionError: division by zero")


def test_the_environment_sets_the_limits():
    assert log_file.limits({}) == Limits(10_000_000, 3)
    assert log_file.limits({"DM2_LOG_MEGABYTES": "0.5", "DM2_LOG_FILES": "7"}) == Limits(500_000, 7)


@pytest.mark.parametrize("word", ["0", "-1", "many", "nan", "inf"])
@pytest.mark.parametrize("name", ["DM2_LOG_MEGABYTES", "DM2_LOG_FILES"])
def test_an_impossible_limit_is_named(name, word):
    with pytest.raises(LimitsError, match=rf"{name} is '{word}'; it must be a number"):
        log_file.limits({name: word})
