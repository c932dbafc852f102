"""Unrolls of a game that goes down in the middle: slots start afresh, the old battle ends there.

The game is the stand-in, see `test_starcraft.py`.
"""

import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from actors import team
from actors.player import Player
from actors.unroll import Unrolls
from dm2_dist import networks, snapshot, trajectory
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import GameLost
from dm2_dist.envs.sc2_standin import tree
from dm2_dist.envs.smac import SmacBatch
from dm2_dist.envs.starcraft import orphan
from dm2_dist.envs.starcraft.site import Site
from dm2_dist.sections import AsynchronyConfig, CollectionConfig, GamesConfig, NetworkConfig
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice

ROOT = Path(__file__).resolve().parents[2]
SUBSTITUTE = ROOT / "tests" / "unit" / "envs" / "starcraft" / "substitute"
MAP, K, LENGTH = "3m", 3, 6
QUICK = GamesConfig(answer_seconds=20.0, start_seconds=60.0)

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.usefixtures("compiled_simulator"),
    pytest.mark.skipif(
        importlib.util.find_spec("pysc2_evolved") is None,
        reason="PySC2 is not installed; install dm2-dist with the extra [sc2]",
    ),
]


def ticket(seed: int, kind: str = "train") -> Ticket:
    greedy, newest = kind != "train", kind == "train"
    return Ticket(kind, 0, seed, (seed,), versions=(0,) * K, greedy=greedy, newest=newest)


class Game(NamedTuple):
    """One battle after the other, and where its process is on record."""

    batch: SmacBatch
    site: Site

    def kill(self) -> None:
        token = (self.site.own / orphan.RECORD).read_text().split('"')[3]
        for process in orphan.bearers([token]):
            process.kill()


@pytest.fixture
def open_game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Game]]:
    tree.install(tmp_path / "game")
    monkeypatch.setenv("SC2PATH", str(tmp_path / "game"))
    monkeypatch.setenv("SMAC_PATH", os.environ.get("SMAC_PATH") or str(SUBSTITUTE))
    batches: list[SmacBatch] = []

    def make_one(name: str) -> Game:
        site = Site(name, tmp_path / "games", tmp_path / f"{name}.log")
        batches.append(SmacBatch(MAP, games=QUICK, site=site))
        return Game(batches[-1], site)

    yield make_one
    for batch in batches:
        batch.close()


@pytest.fixture(scope="module")
def parameters() -> list[dict[str, np.ndarray]]:
    spec, config = make.describe("smac", MAP), NetworkConfig(hidden_size=16, policy_head_gain=2.0)
    size = spec.observation_size + spec.num_actions + K
    found = []
    for k in range(K):
        pair = (
            networks.make_policy(size, spec.num_actions, config, 5, k),
            networks.make_critic(size, config, 5, k),
        )
        arrays = [{n: t.detach().numpy() for n, t in net.state_dict().items()} for net in pair]
        found.append(snapshot.join(*arrays))
    return found


def as_bytes(slices: list[Slice]) -> list[bytes]:
    return [array.tobytes() for part in slices for array in trajectory.arrays_of(part).values()]


def lost_never(lost: GameLost) -> None:
    raise AssertionError(lost)


def test_a_game_that_is_killed_in_an_unroll_ends_its_battle_there(open_game, parameters) -> None:
    players, calm = team.assemble(parameters), open_game("calm").batch
    fresh = Unrolls(LENGTH).play_unroll(ticket(2), players, calm, lambda: None, lost_never)

    lost: list[GameLost] = []
    unrolls, game, steps = Unrolls(LENGTH), open_game("killed"), []

    def strike() -> None:
        # In the middle of the second unroll, with a battle that goes on from the first one.
        steps.append(None)
        if len(steps) == LENGTH + 3:
            game.kill()

    first, second, third = (
        unrolls.play_unroll(ticket(seed), players, game.batch, strike, lost.append)
        for seed in (1, 2, 3)
    )
    assert len(lost) == 1
    assert (first[0].length.tolist(), first[0].ended.any()) == ([LENGTH], False)
    assert as_bytes(second) == as_bytes(fresh)
    assert all(part.entering.first[0] for part in second)
    assert third[0].entering.steps_before[0] == second[0].length[-1]


def test_an_evaluation_takes_the_game_and_training_starts_afresh(open_game, parameters) -> None:
    config = RunConfig(
        env="smac",
        schedule="async",
        asynchrony=AsynchronyConfig(unit="unrolls", unroll_length=LENGTH),
        collection=CollectionConfig(episodes_per_ticket=1),
    )
    player, batch = Player(config), open_game("shared").batch
    player.take(parameters)

    def play(number: int, kind: str = "train") -> Slice:
        return player.play(ticket(number, kind), batch, lambda: None, lost_never)[0]

    numbers = itertools.count()
    # SMAC begins a second battle in the same game only if the first one has ended.
    next(number for number in numbers if play(number).ended.any())
    play(next(numbers))
    assert not play(next(numbers)).entering.first[0]
    whole = play(next(numbers), "evaluate")
    assert whole.entering is None
    assert whole.ended.all()
    assert play(next(numbers)).entering.first[0]
    assert batch.launches == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_on_unrolls_whose_games_crash_again_and_again(tmp_path: Path) -> None:
    tree.install(tmp_path / "game")
    surroundings = {"SC2PATH": str(tmp_path / "game"), "DM2_STANDIN_FAULT": "crash_at=300"}
    sizes = ("--collection.episodes-per-iteration", "8", "--imitation.episodes-per-step", "8")
    unrolls = ("--schedule", "async", "--asynchrony.unit", "unrolls")
    ends = ("--max-env-steps", "1600", "--evaluation.episodes", "2", "--ppo.epochs", "2")
    done = subprocess.run(
        [
            *(sys.executable, "launch/local.py", "--run-dir", str(tmp_path / "run"), "--plain"),
            *("--env", "smac", "--map", MAP, "--actors", "2", "--metrics-port", "0"),
            *(*sizes, *unrolls, *ends),
        ],
        cwd=ROOT,
        env={"SMAC_PATH": str(SUBSTITUTE), **os.environ, **surroundings},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    logs = [path.read_text() for path in (tmp_path / "run" / "logs").glob("actor-?.log")]
    cut_off = sum(len(re.findall(r"cut_off ticket=train/", log)) for log in logs)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    ledger = summary["ledger"]
    assert cut_off > 0
    assert ledger["dropped"].pop("env_restart") == K * cut_off
    assert set(ledger["dropped"]) <= {"shutdown", "duplicate"}
    assert (summary["env_steps"], ledger["error"], ledger["lost"]) == (1600, 0, {})
    assert ledger["trained"] == summary["iterations"] * 8 * K
