"""The real SMAC and the real PySC2 against the stand-in, in lock-step with `SkirmishEnv`.

Two engines play the same battles: one behind the game's protocol, in a process of its own, driven
by SMAC's unmodified class; one inside `SkirmishEnv`. The seeds agree by construction: battle n of a
game created with random_seed s is battle n of `SkirmishEnv(seed=s)`. After every step everything
that can be asked is compared bit for bit. So this proves features, orders, endings, rewards,
restarts and the wire at once; `test_smac_parity.py` proves the features alone, on one engine.

Run as a program, it plays the duels that its argument describes and prints what it saw as JSON:
SMAC changes the process that it is imported into, so that the tests start one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("compiled_simulator")]

Numbers = Any

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "obs_last_action": True,
        "obs_pathing_grid": True,
        "obs_terrain_height": True,
        "obs_timestep_number": True,
        "state_timestep_number": True,
        "reward_only_positive": False,
        "compat": ("timestep",),
    },
    "an older build": {
        "game_version": "4.6.2",
        "obs_pathing_grid": True,
        "obs_terrain_height": True,
        "obs_all_health": False,
        "obs_last_action": True,
        "state_last_action": False,
        "reward_scale": False,
        "reward_defeat": -7,
    },
    "no health": {
        "game_version": "4.10",
        "obs_all_health": False,
        "obs_own_health": False,
        "obs_instead_of_state": True,
        "reward_sparse": True,
        "move_amount": 3,
        "difficulty": "A",
    },
    "short steps": {
        "step_mul": 2,
        "continuing_episode": True,
        "state_timestep_number": True,
        "move_amount": 1.5,
        "reward_death_value": 4,
        "reward_win": 150,
        "reward_scale_rate": 30,
    },
    "shuffled enemies": {"obs_last_action": True, "compat": ("enemy_order",)},
    "heuristic": {
        "heuristic_ai": True,
        "obs_last_action": True,
        "continuing_episode": True,
        "compat": ("heuristic_list", "marauder_target"),
    },
    "restricted heuristic": {
        "heuristic_ai": True,
        "heuristic_rest": True,
        "obs_instead_of_state": True,
        "compat": ("heuristic_list", "marauder_target"),
    },
}

QUICK_MAPS = ("3m", "MMM", "2s3z")
ORDINARY = ("defaults", "everything", "an older build", "no health", "short steps")
RESTART_LOOPS = 2
"""Loops that SMAC lets pass between killing everybody and looking at the next battle."""


def same(theirs: Numbers, ours: Numbers, what: str) -> None:
    """Require equal numbers of equal type and shape."""
    theirs, ours = np.asarray(theirs), np.asarray(ours)
    assert (theirs.dtype, theirs.shape) == (ours.dtype, ours.shape), what
    differing = np.argwhere(theirs != ours)
    assert not differing.size, (what, differing[:5], theirs[theirs != ours], ours[theirs != ours])


def compare(theirs: Any, ours: Any) -> None:
    """Compare everything that can be asked during a battle."""
    for agent, (row, own) in enumerate(zip(theirs.get_obs(), ours.get_obs(), strict=True)):
        same(row, own, f"observation {agent}")
    same(theirs.get_state(), ours.get_state(), "state")
    assert theirs.get_avail_actions() == ours.get_avail_actions()
    same(theirs.get_visibility_matrix(), ours.get_visibility_matrix(), "visibility")
    same(theirs.last_action, ours.last_action, "last action")
    their_parts, our_parts = theirs.get_state_dict(), ours.get_state_dict()
    assert list(their_parts) == list(our_parts)
    for name, part in their_parts.items():
        same(part, our_parts[name], name)
    assert theirs.get_unit_types() == ours.get_unit_types()
    for name in ("_episode_steps", "_episode_count", "win_counted", "defeat_counted", "max_reward"):
        assert getattr(theirs, name) == getattr(ours, name), name
    for name in ("health", "shield", "energy", "weapon_cooldown"):
        for side in ("agents", "enemies"):
            for number, unit in getattr(theirs, side).items():
                own = getattr(ours, side)[number]
                if unit.health > 0:
                    assert getattr(unit, name) == getattr(own, name), (side, number, name)


class Duel:
    """SMAC's class over the socket beside our environment."""

    def __init__(self, smac_class: Any, map_name: str, seed: int, setting: str) -> None:
        from dm2_dist.envs.skirmish import SkirmishEnv
        from dm2_dist.envs.skirmish.heuristic import ClosestTarget

        flags = dict(SETTINGS[setting])
        self.ours = SkirmishEnv(map_name, seed=seed, **flags)
        flags.pop("compat", None)
        self.theirs = smac_class(map_name=map_name, seed=seed, **flags)
        self.generator = np.random.default_rng(seed)
        self.closest = ClosestTarget(self.ours._batch)
        self.tags: set[int] = set()
        self.steps = 0
        self.left_early = 0
        self.outcomes: dict[str, int] = {}
        assert self.theirs.get_env_info() == self.ours.get_env_info()

    def reset(self) -> None:
        """Start the next battle on both sides."""
        observations, state = self.theirs.reset()
        own_observations, own_state = self.ours.reset()
        same(state, own_state, "first state")
        for row, own in zip(observations, own_observations, strict=True):
            same(row, own, "first observation")
        tags = {unit.tag for unit in [*self.theirs.agents.values(), *self.theirs.enemies.values()]}
        assert len(tags) == self.theirs.n_agents + self.theirs.n_enemies
        assert not tags & self.tags, "a tag came back"
        self.tags |= tags
        self.closest.reset()
        compare(self.theirs, self.ours)

    def choose(self, policy: str) -> list[int]:
        """Choose available actions."""
        available = self.theirs.get_avail_actions()
        if policy == "stop":
            return [int(row[1]) for row in available]
        if policy == "closest":
            chosen: list[int] = self.closest.actions()[0].tolist()
            return chosen
        attack = self.generator.random() < 0.3
        return [
            int(np.flatnonzero(row)[-1] if attack else self.generator.choice(np.flatnonzero(row)))
            for row in available
        ]

    def step(self, actions: list[int]) -> tuple[bool, bool]:
        """Play one step on both sides; returns whether it ended, and whether both still agree."""
        given, own_given = list(actions), list(actions)
        orders = self.watch()
        reward, terminated, info = self.theirs.step(given)
        if not self.expressible(given, orders):
            self.left_early += 1
            return True, False
        own_reward, own_terminated, own_info = self.ours.step(own_given)
        assert (reward, terminated) == (own_reward, own_terminated)
        assert type(reward) is type(own_reward) or not self.theirs.reward_scale
        assert {**info, "truncated": own_info["truncated"]} == own_info
        compare(self.theirs, self.ours)
        self.steps += 1
        if terminated:
            self.finish(info, own_info)
        return terminated, True

    def watch(self) -> list[Any]:
        """Note down the commands that the class sends in its next step."""
        sent: list[Any] = []
        send = self.theirs._controller.actions

        def noting(request: Any) -> Any:
            sent.extend(action.action_raw.unit_command for action in request.actions)
            del self.theirs._controller.actions
            return send(request)

        self.theirs._controller.actions = noting
        return sent

    def expressible(self, given: list[int], orders: list[Any]) -> bool:
        """Whether what SMAC's heuristic did is an action of our environment.

        It sends nothing to a unit without a target, which then goes on with what it did, and it
        sends units into cliffs. Ours stops them: there is no such action.
        """
        if not (self.theirs.heuristic_ai and self.theirs.heuristic_rest):
            return True
        commanded = {tag for order in orders for tag in order.unit_tags}
        available = self.ours.get_avail_actions()
        alive = [unit for unit in self.ours.agents if self.ours.agents[unit].health > 0]
        return all(
            self.theirs.agents[unit].tag in commanded and available[unit][given[unit]]
            for unit in alive
        )

    def finish(self, info: dict[str, Any], own_info: dict[str, Any]) -> None:
        """Count an ending."""
        assert self.theirs.get_stats() == self.ours.get_stats()
        if not self.theirs.reward_sparse:  # SMAC keeps no book of deaths then
            same(self.theirs.death_tracker_ally, self.ours.death_tracker_ally, "dead allies")
            same(self.theirs.death_tracker_enemy, self.ours.death_tracker_enemy, "dead enemies")
        outcome = "won" if info["battle_won"] else "lost" if self.ours.defeat_counted else "drawn"
        outcome = "timeout" if own_info["truncated"] else outcome
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def play(self, policy: str) -> None:
        """Play one battle to its end."""
        self.reset()
        ended = agree = False
        while not ended:
            ended, agree = self.step(self.choose(policy))
        if not agree:
            return
        if not any(unit.health > 0 for unit in [*self.ours.agents.values()]) and not any(
            unit.health > 0 for unit in self.ours.enemies.values()
        ):
            self.skip_old_battle()

    def skip_old_battle(self) -> None:
        """After a mutual kill the map starts at once, before SMAC looks: that battle is older."""
        self.theirs.reset()
        self.ours.reset()

    def kill(self, allies: list[int], enemies: list[int]) -> None:
        """Take units out of the battle on both sides."""
        from s2clientprotocol import debug_pb2

        tags = [self.theirs.agents[unit].tag for unit in allies]
        tags += [self.theirs.enemies[unit].tag for unit in enemies]
        order = debug_pb2.DebugCommand(kill_unit=debug_pb2.DebugKillUnit(tag=tags))
        self.theirs._controller.debug([order])
        units = allies + [self.theirs.n_agents + unit for unit in enemies]
        self.ours._batch.unit_health[0, units] = 0.0
        self.ours._batch.unit_shield[0, units] = 0.0

    def close(self) -> None:
        """End the game."""
        self.theirs.close()


def endings(smac_class: Any, map_name: str, seed: int) -> dict[str, int]:
    """Provoke every ending, each in a battle of its own, with a fresh battle after it."""
    duel = Duel(smac_class, map_name, seed, "defaults")
    all_allies, all_enemies = list(range(duel.ours.n_agents)), list(range(duel.ours.n_enemies))
    cases = [([], all_enemies), (all_allies, [])]
    if map_name.startswith("MMM"):
        # The medivac is the last agent, and the last enemy.
        cases += [(all_allies[:-1], []), ([], all_enemies[:-1]), (all_allies[:-1], all_enemies)]
        cases += [(all_allies[:-1], all_enemies[:-1])]
    cases += [(all_allies, all_enemies)]
    for case, (allies, enemies) in enumerate(cases):
        duel.reset()
        for _ in range(case % 3):
            assert duel.step(duel.choose("stop")) == (False, True)
        duel.kill(allies, enemies)
        assert duel.step(duel.choose("stop")) == (True, True)
        if len(allies) + len(enemies) == len(all_allies) + len(all_enemies):
            duel.skip_old_battle()
            check_old_battle(duel)
    duel.reset()
    duel.close()
    return duel.outcomes


def check_old_battle(duel: Duel) -> None:
    """Check that the battle after a mutual kill is some loops old, and otherwise the right one."""
    from dm2_dist.envs.skirmish.kernels.draw import derived_seed
    from dm2_dist.envs.skirmish.raw_battle import RawBattle

    expected = RawBattle(duel.ours.map_name)
    expected.begin(derived_seed(duel.ours.seed(), duel.ours._battles - 1))
    # Everybody died in the first of eight loops, the second called the next battle.
    expected.play(8 - 2)
    expected.play(RESTART_LOOPS)
    units = [*duel.theirs.agents.values(), *duel.theirs.enemies.values()]
    assert [unit.pos.x for unit in units] == expected.x.tolist()
    assert [unit.pos.y for unit in units] == expected.y.tolist()


def main() -> None:
    """Play the duels of the request in the first argument, and print what was seen."""
    from dm2_dist.envs.starcraft import importing

    smac_class = importing.load(60)
    request = json.loads(sys.argv[1])
    seen: dict[str, Any] = {"steps": 0, "left_early": 0, "outcomes": {}, "endings": {}}
    for map_name in request["maps"]:
        for setting, policy, seed, episodes in request["duels"]:
            print(f"{map_name}, {setting}, {policy}, seed {seed}", file=sys.stderr, flush=True)
            duel = Duel(smac_class, map_name, seed, setting)
            for _ in range(episodes):
                duel.play(policy)
                if duel.left_early:
                    break
            duel.close()
            seen["steps"] += duel.steps
            seen["left_early"] += duel.left_early
            for outcome, times in duel.outcomes.items():
                seen["outcomes"][outcome] = seen["outcomes"].get(outcome, 0) + times
        if request.get("endings"):
            seen["endings"][map_name] = endings(smac_class, map_name, seed=7)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()


def play_in_a_process(directory: Path, request: dict[str, Any], **variables: str) -> Any:
    """Play duels against a fresh installation in a process that ends afterwards."""
    from dm2_dist.envs.sc2_standin import tree
    from dm2_dist.envs.starcraft import importing

    environ = {**os.environ, **variables, "SC2PATH": str(directory / "sc2")}
    for module in ("s2clientprotocol", "websocket"):
        if find_spec(module) is None:
            pytest.skip(f"no module {module}: the extra [sc2] is not installed")
    try:
        importing.locate(environ)
    except importing.StarcraftImportError as error:
        pytest.skip(str(error))
    tree.install(directory / "sc2")
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(request)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=1000,
        check=False,
        cwd=directory,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_three_maps_in_lock_step(tmp_path: Path) -> None:
    duels = [("everything", "random", 11, 1)]
    request = {"maps": QUICK_MAPS, "duels": duels, "endings": True}
    seen = play_in_a_process(tmp_path, request)
    assert seen["steps"] > 60
    assert seen["endings"]["3m"] == {"won": 1, "lost": 1, "drawn": 1}
    assert seen["endings"]["2s3z"] == {"won": 1, "lost": 1, "drawn": 1}
    # Medivacs alone have lost, even if nobody is left against them; one left enemy does not count.
    assert seen["endings"]["MMM"] == {"won": 2, "lost": 5}


def test_enemies_may_be_listed_in_any_order(tmp_path: Path) -> None:
    request = {"maps": ["2s3z"], "duels": [("shuffled enemies", "random", 4, 2)]}
    seen = play_in_a_process(tmp_path, request, DM2_STANDIN_FAULT="shuffle_enemies")
    assert seen["steps"] > 30


def every_map() -> list[str]:
    from dm2_dist.envs.sc2_standin.tree import MAP_NAMES

    return list(MAP_NAMES)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("map_name", every_map())
def test_every_map_in_lock_step(tmp_path: Path, map_name: str) -> None:
    duels = [
        (setting, ("random", "closest")[index % 2], 11 + index, 2)
        for index, setting in enumerate(ORDINARY)
    ]
    duels += [("defaults", "closest", 21, 2), ("everything", "random", 22, 1)]
    duels += [("defaults", "stop", 5, 1), ("heuristic", "stop", 6, 2)]
    duels += [("restricted heuristic", "stop", seed, 2) for seed in range(2)]
    seen = play_in_a_process(tmp_path, {"maps": [map_name], "duels": duels, "endings": True})
    assert seen["steps"] > 300
    assert sum(seen["outcomes"].values()) + seen["left_early"] >= 17
    if map_name == "2s_vs_1sc":
        assert seen["outcomes"]["timeout"] >= 1
    print(map_name, seen)
