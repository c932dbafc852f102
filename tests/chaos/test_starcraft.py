"""A real game that fails in every way we could think of: what is played stays whole.

The game is the stand-in, its client PySC2 with SMAC where `SMAC_PATH` names it, and with a small
substitute of ours where it does not: everything between an actor and the game is the real thing.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from actors import actor
from dm2_dist import networks, trajectory
from dm2_dist.envs import make
from dm2_dist.envs.interface import BattleBatch, GameBatch, GameLost, NoGameError
from dm2_dist.envs.sc2_standin import tree
from dm2_dist.envs.smac import SmacBatch
from dm2_dist.envs.starcraft import orphan
from dm2_dist.envs.starcraft.site import Site
from dm2_dist.inference import StackedPolicy
from dm2_dist.sections import GamesConfig, NetworkConfig
from dm2_dist.ticket import Ticket

SUBSTITUTE = Path(__file__).resolve().parents[1] / "unit" / "envs" / "starcraft" / "substitute"
MAP, K = "3m", 3
QUICK = GamesConfig(answer_seconds=20.0, start_seconds=60.0)

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.usefixtures("compiled_simulator"),
    pytest.mark.skipif(
        importlib.util.find_spec("pysc2_evolved") is None,
        reason="PySC2 is not installed; install dm2-dist with the extra [sc2]",
    ),
]


def ticket(seed: int) -> Ticket:
    return Ticket("train", 0, seed, seeds=(seed,), versions=(0,) * K, greedy=False)


TICKETS = [ticket(11), ticket(12)]


@pytest.fixture(scope="module")
def game_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("game")
    tree.install(root)
    return root


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, game_root: Path) -> None:
    monkeypatch.setenv("SC2PATH", str(game_root))
    monkeypatch.setenv("SMAC_PATH", os.environ.get("SMAC_PATH") or str(SUBSTITUTE))


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    def plant(fault: str, *, once: bool = True) -> None:
        monkeypatch.setenv("DM2_STANDIN_FAULT", fault)
        if once:
            monkeypatch.setenv("DM2_STANDIN_FAULT_ONCE", str(tmp_path / "struck"))

    return plant


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site("actor-0", tmp_path / "games", tmp_path / "actor-0.game.log")


@pytest.fixture
def open_batch(site: Site) -> Iterator[Callable[..., SmacBatch]]:
    batches: list[SmacBatch] = []

    def make_one(games: GamesConfig = QUICK, where: Site = site) -> SmacBatch:
        batches.append(SmacBatch(MAP, games=games, site=where))
        return batches[-1]

    yield make_one
    for batch in batches:
        batch.close()


@pytest.fixture(scope="module")
def policy() -> StackedPolicy:
    spec, config = make.describe("smac", MAP), NetworkConfig(hidden_size=16, policy_head_gain=2.0)
    size = spec.observation_size + spec.num_actions + K
    made = [networks.make_policy(size, spec.num_actions, config, 5, k) for k in range(K)]
    return StackedPolicy(
        [{name: t.detach().numpy() for name, t in net.state_dict().items()} for net in made]
    )


def play(batch: BattleBatch, policy: StackedPolicy) -> tuple[list[bytes], list[GameLost]]:
    """Play the tickets; what came of them as bytes, and what was cut off."""
    lost: list[GameLost] = []
    parts = []
    for each in TICKETS:
        for part in actor.play_to_the_end(each, policy, batch, lambda: None, lost.append):
            parts += [getattr(part, name).tobytes() for name in trajectory.SLICE_FIELDS]
    return parts, lost


@pytest.fixture(scope="module")
def undisturbed(
    game_root: Path, policy: StackedPolicy, tmp_path_factory: pytest.TempPathFactory
) -> list[bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SC2PATH", str(game_root))
        patch.setenv("SMAC_PATH", os.environ.get("SMAC_PATH") or str(SUBSTITUTE))
        with SmacBatch(MAP, games=QUICK, site=Site("a", folder / "games", folder / "log")) as batch:
            parts, lost = play(batch, policy)
            assert (batch.launches, lost) == (1, [])
    return parts


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def games_of(site: Site) -> list[psutil.Process]:
    """Processes of the game that is on record."""
    token = (site.own / orphan.RECORD).read_text().split('"')[3]
    return orphan.bearers([token])


def game_process(site: Site) -> psutil.Process:
    found = [p for p in games_of(site) if "dm2_dist.envs.sc2_standin" in p.cmdline()]
    return found[0]


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended, seen off by its parent or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- every fault ends in another game, none in a made-up episode ---


def slow(*names: str) -> list[object]:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


IN_BATTLE = [
    *("crash_at=50", "stub_observation_at=50"),
    *slow("hang_at=51", "already_ended_at=50", "close_at=50", "garbage_at=50"),
    *slow("wrong_status_at=50", "wrong_id_at=50", "missing_status_at=50", "error_at=50"),
]
AT_START = [
    "refuse_create",
    *slow("exit_at_start", "refuse_join", "crash_at=3", "crash_at=4", "hang_at=4"),
]
IMPATIENT = GamesConfig(answer_seconds=5.0, start_seconds=60.0)


@pytest.mark.parametrize("fault", IN_BATTLE)
def test_a_battle_that_a_fault_cut_off_is_played_again_from_its_start(
    fault, faults, open_batch, policy, undisturbed
):
    faults(fault)
    batch = open_batch(IMPATIENT if "hang" in fault else QUICK)
    parts, lost = play(batch, policy)
    assert len(lost) == 1
    assert (batch.launches, batch.lost) == (2, 1)
    assert parts == undisturbed  # whole battles only, the same as if nothing had happened


@pytest.mark.parametrize("fault", AT_START)
def test_a_start_that_failed_costs_no_battle(fault, faults, open_batch, policy, undisturbed):
    faults(fault)
    batch = open_batch(IMPATIENT if "hang" in fault else QUICK)
    parts, lost = play(batch, policy)
    assert lost == []
    assert (batch.launches, batch.lost) == (1, 1)
    assert parts == undisturbed


def test_a_killed_game_is_named_with_its_last_words(open_batch, site):
    batch = open_batch()
    batch.reset(np.array([1], np.uint64))
    game_process(site).kill()
    with pytest.raises(GameLost, match=r"exit code is -9") as caught:
        batch.step(batch.available_actions.argmax(axis=2))
    assert "not StarCraft II" in caught.value.tail or "NOT StarCraft II" in caught.value.tail
    with pytest.raises(GameLost, match="reset the battle first"):
        batch.step(batch.available_actions.argmax(axis=2))
    batch.reset()
    assert batch.launches == 2


def test_a_killed_worker_is_a_lost_game(open_batch, site):
    batch = open_batch()
    batch.reset()
    game = game_process(site)
    next(p for p in games_of(site) if p.pid != game.pid).kill()
    with pytest.raises(GameLost, match=r"worker ended \(SIGKILL\)"):
        batch.step(batch.available_actions.argmax(axis=2))
    until(lambda: gone(game))


@pytest.mark.slow
def test_a_stopped_worker_is_cut_off_by_the_deadline(open_batch, site):
    batch = open_batch(GamesConfig(answer_seconds=1.0, start_seconds=60.0))
    batch.reset()
    for process in games_of(site):
        process.suspend()
    with pytest.raises(GameLost, match="has not answered for 6 s"):
        batch.step(batch.available_actions.argmax(axis=2))
    assert not list(site.shared.glob(f"*/{orphan.RECORD}"))


# --- giving up, giving way ---


@pytest.mark.slow
def test_games_that_never_finish_an_episode_end_the_actor(faults, open_batch, site):
    faults("exit_at_start", once=False)
    batch = open_batch(GamesConfig(launches_allowed=2))
    with pytest.raises(NoGameError, match=r"2 games in a row .*actor-0\.game\.log") as caught:
        batch.reset()
    assert "\n" not in str(caught.value)


def test_a_missing_game_is_told_at_once(open_batch, monkeypatch, tmp_path):
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nowhere"))
    batch = open_batch()
    with pytest.raises(NoGameError, match=r"SC2PATH is .*nowhere"):
        batch.open()
    assert batch.lost == 0


def random_battle(batch: SmacBatch) -> None:
    batch.reset()
    while not batch.finished[0]:
        batch.step(batch.available_actions.argmax(axis=2))


def test_a_game_gives_way_after_its_number_of_episodes(open_batch):
    batch = open_batch(GamesConfig(recycle_episodes=2))
    seen = []
    for _ in range(5):
        random_battle(batch)
        seen.append(batch.launches)
    assert seen == [1, 1, 2, 2, 3]
    assert batch.lost == 0


@pytest.mark.slow
def test_a_game_that_has_grown_gives_way_after_its_episode(faults, open_batch):
    faults("leak=20", once=False)
    batch = open_batch(GamesConfig(memory_limit_mb=400))
    for _ in range(2):
        random_battle(batch)
    assert batch.launches == 2
    assert batch.memory_bytes > 400 * 2**20
    assert batch.lost == 0


def test_time_outs_are_truncated_and_decided_battles_are_not(open_batch):
    batch = open_batch()
    batch.reset(np.array([3], np.uint64))
    away = 5  # west, from enemies that come from the east
    while not batch.finished[0]:
        legal = batch.available_actions[0]
        actions = [away if row[away] else int(row.argmax()) for row in legal]
        batch.step(np.array([actions]))
    assert int(batch.terminated[0]) + int(batch.truncated[0]) == 1
    assert bool(batch.truncated[0]) == (batch.episode_steps[0] == batch.episode_limit)
    before = [array.copy() for array in (batch.observation, batch.episode_steps, batch.won)]
    batch.step(np.ones((1, K), np.int64))
    for array, old in zip((batch.observation, batch.episode_steps, batch.won), before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert batch.reward[0] == 0


def test_an_illegal_action_reaches_no_game(open_batch):
    batch = open_batch()
    batch.reset()
    with pytest.raises(ValueError, match="environment 0, agent 1: action 0 is not available"):
        batch.step(np.array([[1, 0, 1]]))
    assert batch.episode_steps[0] == 0
    assert isinstance(batch, GameBatch)


# --- nothing is left behind ---


class GivenUp(Exception):
    pass


def test_whoever_gives_up_while_waiting_leaves_no_game(faults, open_batch, site):
    calls = []

    def on_wait() -> None:
        calls.append(games_of(site))
        if any("sc2_standin" in " ".join(p.cmdline()) for p in calls[-1]):
            raise GivenUp

    faults("hang_at=1", once=False)
    batch = open_batch(where=Site(site.name, site.shared, site.log, on_wait))
    with pytest.raises(GivenUp):
        batch.reset()
    assert all(map(gone, calls[-1]))
    assert not site.own.exists()


HOLDER = """
import sys
from pathlib import Path
from dm2_dist.envs.smac import SmacBatch
from dm2_dist.envs.starcraft.site import Site
folder = Path(sys.argv[1])
batch = SmacBatch("3m", site=Site("actor-0", folder / "games", folder / "actor-0.game.log"))
batch.reset()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("hung", [False, True])
def test_nothing_outlives_an_actor_that_is_killed(hung, faults, site, tmp_path):
    """Also where the worker is hung and the game deaf to everything but the kernel."""
    faults("stubborn", once=False)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin
    assert holder.stdout
    try:
        assert holder.stdout.readline() == b"ready\n"
        game = game_process(site)
        if hung:
            next(p for p in games_of(site) if p.pid != game.pid).suspend()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    try:
        until(lambda: not games_of(site))
    finally:
        left = orphan.reap(site.shared)
    assert left == []
    assert not site.own.exists()


def test_what_escaped_is_found_by_its_token_and_killed(site):
    token = orphan.record(site.own)
    escaped = subprocess.Popen(
        ["sleep", "600"], env={**os.environ, orphan.TOKEN: token}, start_new_session=True
    )
    bystander = subprocess.Popen(["sleep", "600"], env={**os.environ, orphan.TOKEN: "other"})
    try:
        until(lambda: bool(games_of(site)))
        assert orphan.reap(site.shared) == [escaped.pid]
        assert escaped.wait(10) == -signal.SIGKILL
        assert bystander.poll() is None
    finally:
        for process in (escaped, bystander):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_close_ends_the_game_and_its_files(open_batch, site):
    batch = open_batch()
    batch.open()
    processes = games_of(site)
    assert len(processes) >= 2
    batch.close()
    assert all(map(gone, processes))
    assert not site.own.exists()
