"""A small client of the game with the names of SMAC's class, and with its dangerous habits.

It plays real battles through PySC2: it starts the game, moves units, tells who has won. Its
features are few and simple, but as many as SMAC's. Like SMAC it makes up an ending when the game
dies, waits for units without limit, and counts late enemies twice.
"""

import numpy as np
from pysc2 import run_configs
from pysc2.lib import protocol
from s2clientprotocol import common_pb2, debug_pb2, raw_pb2, sc2api_pb2

from dm2_dist.envs import make

BROKEN = (protocol.ProtocolError, protocol.ConnectionError)
MOVES = {2: (0, 2), 3: (0, -2), 4: (2, 0), 5: (-2, 0)}
MOVE, ATTACK, STOP = 16, 23, 4


class StarCraft2Env:
    def __init__(self, map_name, game_version=None, seed=None, continuing_episode=False):
        spec = make.describe("smac", map_name)
        self.map_name, self.n_agents, self.n_enemies = map_name, spec.num_agents, spec.num_enemies
        self.n_actions, self.episode_limit = spec.num_actions, spec.episode_limit
        self._sizes = spec.observation_size, spec.state_size
        self._version, self._seed, self._continuing = game_version, seed, continuing_episode
        self.max_reward = 10 * self.n_enemies + 200
        self.agents, self.enemies = {}, {}
        self._obs = self._sc2_proc = self._controller = None
        self._episode_count = self._episode_steps = 0

    def _launch(self):
        config = run_configs.get(version=self._version)
        path = f"SMAC_Maps/{self.map_name}.SC2Map"
        self._sc2_proc = config.start(window_size=(640, 480), want_rgb=False)
        self._controller = self._sc2_proc.controller
        local = sc2api_pb2.LocalMap(map_path=path, map_data=config.map_data(path))
        create = sc2api_pb2.RequestCreateGame(
            local_map=local, realtime=False, random_seed=self._seed
        )
        create.player_setup.add(type=sc2api_pb2.Participant)
        create.player_setup.add(type=sc2api_pb2.Computer, race=common_pb2.Terran)
        self._controller.create_game(create)
        options = sc2api_pb2.InterfaceOptions(raw=True, score=False)
        self._controller.join_game(
            sc2api_pb2.RequestJoinGame(race=common_pb2.Terran, options=options)
        )

    def reset(self):
        self._episode_steps = 0
        if self._episode_count == 0:
            self._launch()
        else:
            self._kill_all()
        try:
            self._obs = self._controller.observe()
            self.init_units()
        except BROKEN:
            self.full_restart()

    def _kill_all(self):
        units = [*self.agents.values(), *self.enemies.values()]
        tags = [unit.tag for unit in units if unit.health > 0]
        kill = debug_pb2.DebugKillUnit(tag=tags)
        try:
            self._controller.debug([debug_pb2.DebugCommand(kill_unit=kill)])
            self._controller.step(2)
        except BROKEN:
            self.full_restart()

    def full_restart(self):
        self._sc2_proc.close()
        self._launch()

    def init_units(self):
        while True:
            units = self._obs.observation.raw_data.units
            own = sorted((u for u in units if u.owner == 1), key=lambda u: (u.unit_type, u.pos.x))
            self.agents = dict(enumerate(own))
            self.enemies = dict(enumerate(u for u in units if u.owner == 2))
            self.max_reward += sum(u.health_max + u.shield_max for u in self.enemies.values())
            if (len(self.agents), len(self.enemies)) == (self.n_agents, self.n_enemies):
                return
            self._controller.step(1)
            self._obs = self._controller.observe()

    def step(self, actions):
        commands = [self._command(self.agents[k], action) for k, action in enumerate(actions)]
        try:
            request = sc2api_pb2.RequestAction(actions=[c for c in commands if c is not None])
            self._controller.actions(request)
            self._controller.step(8)
            self._obs = self._controller.observe()
        except BROKEN:
            self.full_restart()
            return 0, True, {}
        self._episode_steps += 1
        before = self._strength(self.enemies)
        allies, enemies = self._update(self.agents), self._update(self.enemies)
        reward = before - self._strength(self.enemies)
        info = {"battle_won": allies > 0 and enemies == 0}
        ended = allies == 0 or enemies == 0
        if not ended and self._episode_steps >= self.episode_limit:
            ended = True
            if self._continuing:
                info["episode_limit"] = True
        self._episode_count += ended
        return 20 * (reward + 200 * info["battle_won"]) / self.max_reward, ended, info

    def _command(self, unit, action):
        if action == 0:
            return None
        command = raw_pb2.ActionRawUnitCommand(unit_tags=[unit.tag], queue_command=False)
        command.ability_id = STOP if action == 1 else MOVE if action in MOVES else ATTACK
        if action in MOVES:
            command.target_world_space_pos.x = unit.pos.x + MOVES[action][0]
            command.target_world_space_pos.y = unit.pos.y + MOVES[action][1]
        elif action > 5:
            command.target_unit_tag = self.enemies[action - 6].tag
        return sc2api_pb2.Action(action_raw=raw_pb2.ActionRaw(unit_command=command))

    def _update(self, units):
        here = {unit.tag: unit for unit in self._obs.observation.raw_data.units}
        for index, unit in units.items():
            if unit.tag in here:
                units[index] = here[unit.tag]
            else:
                unit.health = unit.shield = 0
        return sum(unit.health > 0 for unit in units.values())

    def _strength(self, units):
        return sum(unit.health + unit.shield for unit in units.values())

    def get_obs(self):
        rows = np.zeros((self.n_agents, self._sizes[0]), np.float32)
        for index, unit in self.agents.items():
            rows[index, :3] = unit.health, unit.pos.x, unit.pos.y
        return list(rows * (rows[:, :1] > 0))

    def get_state(self):
        row = np.zeros(self._sizes[1], np.float32)
        units = [*self.agents.values(), *self.enemies.values()]
        row[: min(len(units), row.size)] = [unit.health for unit in units][: row.size]
        return row

    def get_avail_actions(self):
        attacks = [int(enemy.health > 0) for enemy in self.enemies.values()]
        living = [0, 1, 1, 1, 1, 1, *attacks]
        dead = [1] + [0] * (self.n_actions - 1)
        return [living if unit.health > 0 else dead for unit in self.agents.values()]

    def close(self):
        if self._sc2_proc:
            self._sc2_proc.close()
