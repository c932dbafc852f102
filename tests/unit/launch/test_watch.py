"""`dm2 status` and `dm2 top`: what they show of a run, and what they answer to mistakes."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import filelock
import pytest

from dm2_dist import run_directory
from dm2_dist.config import RunConfig
from dm2_dist.run_directory import RunDirectory, append_line
from launch import past_run, roster, watch
from launch.cli import main
from launch.roster import Roster
from monitoring import catalogue

DOCUMENT = Path(__file__).parents[3] / "docs" / "watching.md"
CONFIG = RunConfig(map="3m", max_env_steps=1000)
SUMMARY = {
    "finished": True,
    "env_steps": 1010,
    "iterations": 2,
    "wall_seconds": 20.0,
    "env_steps_per_second": 50.5,
    "win_rate": 0.5,
    "win_rate_best": 0.75,
    "ledger": {"produced": 9, "trained": 6, "dropped": {"stale": 2}, "lost": {"x": 1}, "error": 0},
    "restarts": {"actor": 2, "learner": 0},
    "time_share": {"actor": {"play": 0.1, "wait_ticket": 0.9}, "learner": {"ppo": 1.0}},
}


class Head:
    """An HTTP server that answers like a head, with whatever a test wants it to say.

    answers: one (status, body) per request; the last one is repeated.
    meanwhile: called at every request.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        head = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/status"
                status, body = head.answers[0]
                head.meanwhile()
                del head.answers[: len(head.answers) > 1]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def says(self, *reports: dict[str, Any]) -> None:
        self.answers = [(200, json.dumps(report).encode()) for report in reports]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def head() -> Iterator[Head]:
    server = Head()
    yield server
    server.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run that was interrupted before it wrote anything but its configuration."""
    directory, lock = run_directory.acquire(tmp_path / "run", CONFIG, resume=False)
    lock.release()
    return directory.root


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_AGAIN_SECONDS", 0.3)
    monkeypatch.setattr(watch, "_RESTART_SECONDS", 0.3)
    monkeypatch.setattr(watch, "_PAUSE_SECONDS", 0.01)


def train(root: Path, *, env_steps: int = 1010, summary: bool = True) -> None:
    """Write what a run of two iterations leaves behind."""
    directory = RunDirectory(root)
    for agent in range(3):
        line = {"agent": agent, "version": 2, "env_steps": env_steps, "wall_seconds": 19.0}
        append_line(directory.metrics, {**line, "policy_loss": -0.25, "entropy": 1.5})
    for win_rate in (0.75, 0.5):
        line = {"env_steps": 900, "wall_seconds": 18.0, "win_rate": win_rate, "version": 2}
        append_line(directory.evaluations, {**line, "return_mean": 7.5, "episodes": 8})
    if summary:
        directory.summary.write_text(json.dumps(SUMMARY))


def live(root: Path, **changes: Any) -> dict[str, Any]:
    """A report as the head of this run makes it."""
    train(root)
    report = past_run.report(RunDirectory(root))
    for learner in report["learners"]:
        learner["alive"] = True
    known = {"state": "training", "phase": "run", "run_directory": str(root), "env_steps": 77}
    return {**report, **known, **changes}


def told(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(words)
    output = capsys.readouterr()
    return code, output.out, output.err


def shown(name: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code, out, err = told("status", str(name), "--json", capsys=capsys)
    assert (code, err, out.count("\n")) == (0, "", 1)
    return json.loads(out)


def test_a_finished_run_is_shown_from_its_files(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(root)
    code, out, err = told("status", str(root), capsys=capsys)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1:4] == [
        "1,010 of 1,000 env steps, 100 %",
        "finished after 0:20 · 50 env steps/s · iteration 2 · lag 1",
        "win rate  50 % · best 75 % · return 7.50  ▇▅",
    ]
    assert "processes restarted: actor 2" in lines
    assert "ledger    9 = 6 trained + 2 dropped + 1 lost + 0 open" in lines
    assert "learners are the bottleneck: busy 100 % of the time, actors wait 90 %" in lines
    assert [line.split() for line in lines if line.startswith("agent 1")] == [
        ["agent", "1", "2", "-", "-0.250", "1.50", "-"]
    ]


def test_json_has_every_field_of_a_live_report(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(root)
    document = shown(root, capsys)
    assert document["kind"] == "status"
    assert document.keys() >= watch._FIELDS | {"bottleneck", "phase"}
    assert document["state"] == "finished"
    assert [line["win_rate"] for line in document["evaluations"]] == [0.75, 0.5]


def test_every_field_and_state_is_described(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(root)
    text = DOCUMENT.read_text()
    fields = shown(root, capsys).keys() - {"time_share"}  # of the files, described there
    assert {name for name in fields if f"`{name}`" not in text} == set()
    states = {*catalogue.RUN_STATES, past_run.STOPPED, past_run.FAILED, past_run.CUT_OFF}
    assert {name for name in states if f"\n| {name} | " not in text} == set()


def test_what_is_not_a_number_is_null_in_json(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(root)
    line = {"agent": 0, "version": 3, "env_steps": 1010, "policy_loss": float("nan")}
    append_line(RunDirectory(root).metrics, line)
    assert shown(root, capsys)["learners"][0]["metrics"]["policy_loss"] is None


@pytest.mark.parametrize(
    ("env_steps", "summary", "state"),
    [(1010, True, "finished"), (2000, True, "cut off"), (1010, False, "cut off")],
)
def test_a_summary_of_an_earlier_stretch_is_not_the_end(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    env_steps: int,
    summary: bool,
    state: str,
) -> None:
    train(root, env_steps=env_steps, summary=summary)
    document = shown(root, capsys)
    assert (document["state"], document["env_steps"]) == (state, env_steps)


def test_a_run_that_failed_says_why(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(root)
    summary = {**SUMMARY, "finished": False, "failure": "learner-1 keeps failing; see x"}
    RunDirectory(root).summary.write_text(json.dumps(summary))
    _, out, _ = told("status", str(root), capsys=capsys)
    assert "failed after 0:20 · 50 env steps/s" in out
    assert out.splitlines()[-1] == "· learner-1 keeps failing; see x"


def test_a_run_that_never_began_is_shown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told("status", str(root), capsys=capsys)
    assert code == 0
    assert "cut off after 0:00" in out
    assert "not evaluated yet" in out


def test_a_running_run_is_asked_at_the_address_in_its_directory(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    head.says(live(root))
    roster.write(root, Roster(os.getpid(), head.address, "", {}))
    assert shown(root, capsys)["env_steps"] == 77


def test_another_runs_head_on_the_old_port_is_not_believed(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    head.says(live(root, run_directory=str(root.parent / "other")))
    roster.write(root, Roster(os.getpid(), head.address, "", {}))
    assert shown(root, capsys)["state"] == "finished"


@pytest.mark.parametrize("form", ["{}", "http://{}", "http://{}/metrics"])
def test_an_address_is_enough(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    head.says(live(root))
    assert shown(form.format(head.address), capsys)["env_steps"] == 77


def test_a_head_that_has_just_started_is_asked_again(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    head.says({}, live(root))
    assert shown(head.address, capsys)["env_steps"] == 77


def test_top_follows_until_the_run_is_over(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    events = ["actor-1 was killed by signal 9 (SIGKILL); its log is x"]
    first, second = live(root), live(root, wall_seconds=31.0, env_steps=99, events=events)
    over = live(root, state="finished", phase="over")
    head.says(first, second, over)
    code, out, err = told("top", head.address, "--json", capsys=capsys)
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["state"], line["env_steps"]) for line in lines] == [
        ("training", 77),
        ("training", 99),
        ("finished", 77),
    ]
    assert [line["events"] for line in lines[:2]] == [[], events]
    assert [len(line["evaluations"]) for line in lines] == [1, 0, 0]  # only what is new


def test_top_goes_on_with_the_files_when_the_head_has_gone(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    roster.write(root, Roster(os.getpid(), head.address, "", {}))
    head.says(live(root))
    head.answers.append((500, b"bye"))
    code, out, _ = told("top", str(root), "--json", capsys=capsys)
    assert code == 0
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["training", "finished"]


def test_a_head_that_is_started_again_is_waited_for(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    roster.write(root, Roster(os.getpid(), head.address, "", {}))
    head.says(live(root), {}, live(root, state="finished", phase="over"))
    with filelock.FileLock(root / "run.lock"):
        code, out, _ = told("top", str(root), "--json", capsys=capsys)
    assert code == 0
    first, event, last = [json.loads(line) for line in out.splitlines()]
    assert (first["state"], last["state"]) == ("training", "finished")
    assert "has just started; asking again" in event["text"]


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code, out, err = told(*words, capsys=capsys)
    assert out == ""
    assert err.startswith("dm2: ")
    assert err.count("\n") == 1
    return code, err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("runs/nowhere", "runs/nowhere is neither a run directory nor an address"),
        ("tcp://head:5555", "is where learners and actors connect; name the run directory"),
        ("host:99999", "neither a run directory nor an address"),
    ],
)
@pytest.mark.parametrize("command", ["status", "top"])
def test_a_name_that_is_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], command: str, name: str, says: str
) -> None:
    code, err = refusal(capsys, command, name)
    assert code == 1
    assert says in err


def test_a_folder_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "holds no run" in refusal(capsys, "status", str(tmp_path))[1]


def test_a_silent_address_is_named(head: Head, capsys: pytest.CaptureFixture[str]) -> None:
    address = head.address
    head.server.server_close()
    code, err = refusal(capsys, "status", address)
    assert code == 1
    assert f"no head answers at http://{address} (Connection refused)" in err


def test_a_run_whose_head_is_silent_is_not_called_over(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    train(root)
    roster.write(root, Roster(os.getpid(), head.address, "", {}))
    head.server.server_close()
    with filelock.FileLock(root / "run.lock"):
        code, err = refusal(capsys, "status", str(root))
    assert code == 1
    assert "Connection refused" in err
    assert f"the run is not over: see {root / 'logs' / 'head-0.log'}" in err
    assert shown(root, capsys)["state"] == "finished"


def test_a_run_that_does_not_say_where_its_head_is(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with filelock.FileLock(root / "run.lock"):
        code, err = refusal(capsys, "status", str(root))
    assert code == 1
    assert f"{root} does not say where its metrics are; name the address" in err


def test_top_finds_a_resumed_run_at_its_new_address(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    resumed = Head()
    roster.write(root, Roster(os.getpid(), head.address, "", {}))

    def move() -> None:
        roster.write(root, Roster(os.getpid(), resumed.address, "", {}))

    head.says(live(root))
    head.meanwhile = move
    resumed.says(live(root, env_steps=88), live(root, state="finished", phase="over"))
    try:
        code, out, _ = told("top", str(root), "--json", capsys=capsys)
    finally:
        resumed.close()
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["env_steps"] for line in lines if line["kind"] == "status"][:1] == [77]
    assert lines[-1]["state"] == "finished"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (404, b"nothing", "is not the head of a run: it has no /status"),
        (200, b"<html>", "is not the head of a run, or one of another version"),
        (200, b"[" * 100_000, "is not the head of a run, or one of another version"),
        (200, b'{"state": "training"}', "is not the head of a run, or one of another version"),
    ],
)
def test_what_is_not_a_head_is_refused(
    head: Head, capsys: pytest.CaptureFixture[str], status: int, body: bytes, says: str
) -> None:
    head.answers = [(status, body)]
    assert says in refusal(capsys, "status", head.address)[1]


def spoil_summary(root: Path) -> None:
    RunDirectory(root).summary.write_text("{")


def spoil_types(root: Path) -> None:
    append_line(RunDirectory(root).metrics, {"agent": "x", "version": 1})


def spoil_files(root: Path) -> None:
    shutil.rmtree(root / "logs")
    RunDirectory(root).metrics.unlink()
    RunDirectory(root).metrics.mkdir()


@pytest.mark.parametrize("spoil", [spoil_summary, spoil_types, spoil_files])
def test_damaged_files_are_one_sentence(
    root: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None]
) -> None:
    train(root)
    spoil(root)
    assert f"the record in {root} cannot be read" in refusal(capsys, "status", str(root))[1]


def test_the_escape_codes_of_a_stranger_do_not_reach_the_terminal(
    root: Path, head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    head.says(live(root, events=["\x1b]0;mine\x07 gone"]))
    _, out, _ = told("status", head.address, capsys=capsys)
    assert "\x1b" not in out
    assert "?]0;mine? gone" in out
