"""Whole runs that play a real game's stand-in: games, actors and launchers are killed.

SMAC is the real one where `SMAC_PATH` names it, and a small substitute where it does not.
"""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from dm2_dist import log_line
from dm2_dist.envs.sc2_standin import tree
from dm2_dist.envs.starcraft import orphan

ROOT = Path(__file__).resolve().parents[2]
SUBSTITUTE = ROOT / "tests" / "unit" / "envs" / "starcraft" / "substitute"
SMALL = [
    *("--env", "smac", "--map", "3m", "--seed", "7", "--plain", "--metrics-port", "0"),
    *("--collection.episodes-per-iteration", "16", "--imitation.episodes-per-step", "8"),
    *("--evaluation.episodes", "4", "--evaluation.interval-env-steps", "100000"),
    *("--ppo.epochs", "2", "--actors", "2"),
]
ENDLESS = ["--max-env-steps", "10000000"]

pytestmark = [
    pytest.mark.usefixtures("compiled_simulator"),
    pytest.mark.chaos,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        importlib.util.find_spec("pysc2_evolved") is None,
        reason="PySC2 is not installed; install dm2-dist with the extra [sc2]",
    ),
]


class Run:
    """A launched run; every process of its games carries the path of the run's own game tree."""

    def __init__(self, folder: Path, *words: str, **environment: str) -> None:
        self.folder, self.output = folder / "run", folder / "output"
        self.game_root = folder / "game"
        tree.install(self.game_root)
        self.environment = {**os.environ, **environment, "SC2PATH": str(self.game_root)}
        self.environment.setdefault("SMAC_PATH", str(SUBSTITUTE))
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*self.command("local"), *SMALL, "--run-dir", str(self.folder), *words],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "launch.cli", name]

    def call(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.command(words[0]), *words[1:]],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def summary(self) -> dict:
        return json.loads((self.folder / "summary.json").read_text())

    def games(self) -> list[psutil.Process]:
        """Games and their workers that run now."""
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except (psutil.Error, OSError):
                continue
            ours = environment.get("SC2PATH") == str(self.game_root)
            if ours and orphan.TOKEN in environment:
                found.append(process)
        return found

    def playing(self) -> list[psutil.Process]:
        """The games alone."""
        found = []
        for process in self.games():
            try:
                if "dm2_dist.envs.sc2_standin" in process.cmdline():
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def busy(self) -> list[psutil.Process]:
        """The games that a battle keeps busy now: a kill mostly cuts that battle off."""
        games = self.playing()
        try:
            before = [game.cpu_times().user for game in games]
            time.sleep(0.1)
            after = [game.cpu_times().user for game in games]
        except psutil.Error:
            return []
        fought = zip(games, before, after, strict=True)
        return [game for game, start, end in fought if end > start and self.logged("game_started")]

    def pid_of(self, name: str) -> int:
        log = (self.folder / "logs" / "launcher.log").read_text()
        return int(re.findall(rf"started name={name} pid=(\d+)", log)[-1])

    def logged(self, pattern: str) -> int:
        logs = (self.folder / "logs").glob("actor-?.log")
        return sum(len(re.findall(pattern, log_line.text(log))) for log in logs)

    def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.output.read_text()[-2000:]
            time.sleep(0.05)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(*words: str, **environment: str) -> Run:
        runs.append(Run(tmp_path, *words, **environment))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()
        run.until(lambda run=run: not run.games(), 30)


def test_games_and_actors_are_killed_and_the_books_close(launch, tmp_path):
    run = launch("--max-env-steps", "4000")
    killed = 0
    while run.process.poll() is None:
        cut_off = run.logged("cut_off")
        if (killed < 6 or not cut_off) and (games := run.busy()):
            killed += 1
            games[0].kill()
            if killed == 3:
                os.kill(run.pid_of("actor-1"), signal.SIGKILL)
        time.sleep(0.7)
        assert cut_off <= killed + 1
    assert run.process.returncode == 0, run.output.read_text()[-2000:]
    summary = run.summary
    ledger = summary["ledger"]
    assert ledger["error"] == 0
    assert summary["finished"]
    assert summary["restarts"]["actor"] == 1
    assert killed >= 3
    assert 0 < ledger["dropped"]["env_restart"] <= 3 * killed
    accounted = ledger["trained"] + sum(ledger["dropped"].values()) + sum(ledger["lost"].values())
    assert ledger["produced"] == accounted
    assert run.games() == []
    assert not list((run.folder / "games").glob("*/*"))
    config = json.loads((run.folder / "config.json").read_text())["config"]
    assert (config["env"], config["collection"]["episodes_per_ticket"]) == ("smac", 1)

    folder = str(run.folder)
    scores = json.loads(run.call("evaluate", folder, "--episodes", "3", "--json").stdout)
    assert (scores["episodes"], scores["map"]) == (3, "3m")
    output = str(tmp_path / "demonstrations")
    told = run.call("record", folder, "--episodes", "3", "--output", output)
    assert "recorded 3 episodes of 3m" in told.stdout
    refused = run.call("evaluate", folder, "--replays", str(tmp_path / "replays"))
    assert refused.returncode == 1
    assert "keeps battles of the embedded simulator" in refused.stderr
    run.environment["SC2PATH"] = str(tmp_path / "nowhere")
    refused = run.call("evaluate", folder, "--episodes", "3")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "SC2PATH is" in refused.stderr


def test_nothing_outlives_a_killed_launcher(launch):
    run = launch(*ENDLESS)
    run.until(lambda: len(run.playing()) == 2)
    run.process.send_signal(signal.SIGKILL)
    run.process.wait()
    run.until(lambda: not run.games(), 30)


@pytest.mark.slow
def test_an_interrupt_sees_the_games_off(launch):
    run = launch(*ENDLESS)
    run.until(lambda: run.logged("game_started") == 2 and len(run.playing()) == 2)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(120) == 130, run.output.read_text()[-2000:]
    assert run.games() == []
    assert run.summary["ledger"]["error"] == 0
    assert not list((run.folder / "games").glob("*/*"))


def test_a_run_without_its_game_says_so_at_once(tmp_path):
    environment = {**os.environ, "SC2PATH": str(tmp_path / "nowhere")}
    environment.setdefault("SMAC_PATH", str(SUBSTITUTE))
    done = subprocess.run(
        [sys.executable, "launch/local.py", *SMALL, "--run-dir", str(tmp_path / "run")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "SC2PATH is" in done.stderr


@pytest.mark.slow
def test_an_actor_that_waits_for_its_game_is_not_taken_for_dead(launch, tmp_path):
    struck = tmp_path / "struck"
    run = launch(
        *("--max-env-steps", "600", "--games.answer-seconds", "14"),
        DM2_STANDIN_FAULT="hang_at=100",
        DM2_STANDIN_FAULT_ONCE=str(struck),
    )
    assert run.process.wait(280) == 0, run.output.read_text()[-2000:]
    assert struck.exists()
    assert run.logged("cut_off .* timed out") == 1
    assert "silent" not in (run.folder / "logs" / "head-0.log").read_text()
    assert run.summary["restarts"]["actor"] == 0
    assert run.summary["ledger"]["dropped"] == {"env_restart": 3}
    assert run.summary["ledger"]["error"] == 0
