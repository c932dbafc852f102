"""The game as messages of the protocol: units, grids, catalogue.

Fed by `game`; read by `session`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.sc2_standin.game import Ability, Game
from dm2_dist.envs.sc2_standin.protocol import Message, Protocol
from dm2_dist.envs.skirmish.kernels.field import MAP_SIZE
from dm2_dist.envs.skirmish.unit_view import Catalogue, catalogue

_ALLY, _ENEMY = 1, 2
_STUB_LOOP = 2**32 - 1


class Picture:
    """One game, described."""

    def __init__(self, protocol: Protocol, game: Game) -> None:
        """Prepare what stays the same in every observation.

        Args:
            protocol: the messages.
            game: what is described.
        """
        self._protocol = protocol
        self._game = game
        self._listed: Catalogue = catalogue(game.battle.row)
        self._units = [self._fixed(unit) for unit in range(game.battle.num_units)]

    def _fixed(self, unit: int) -> Message:
        """What stays the same of a unit."""
        kind = self._listed.units[unit]
        ally = unit < self._listed.num_agents
        raw = self._protocol.raw
        described = raw.Unit(
            display_type=raw.Visible,
            alliance=raw.Self if ally else raw.Enemy,
            owner=_ALLY if ally else _ENEMY,
            unit_type=self._listed.type_numbers[unit],
            radius=kind.radius,
            facing=0.0 if ally else math.pi,
            build_progress=1.0,
            health_max=kind.health,
            is_flying=kind.flies,
        )
        if kind.shield > 0:
            described.shield_max = kind.shield
        if kind.energy_max > 0:
            described.energy_max = kind.energy_max
        return described

    def observation(self) -> Message:
        """The answer to a request for an observation."""
        answer = self._protocol.sc2api.ResponseObservation()
        seen = answer.observation
        seen.game_loop = self._game.loop
        seen.player_common.player_id = _ALLY
        listed = self._game.listed()
        self._update(listed)
        seen.raw_data.units.extend([self._units[unit] for unit in listed])
        return answer

    def _update(self, listed: list[int]) -> None:
        """Bring the listed units up to date."""
        battle = self._game.battle
        x, y = battle.x.tolist(), battle.y.tolist()
        health, shield = battle.health.tolist(), battle.shield.tolist()
        energy, cooldown = battle.energy.tolist(), battle.cooldown.tolist()
        last = MAP_SIZE - 1
        for unit in listed:
            kind = self._listed.units[unit]
            described = self._units[unit]
            described.tag = self._game.tags[unit]
            place = described.pos
            place.x, place.y = x[unit], y[unit]
            cell = min(max(int(x[unit]), 0), last), min(max(int(y[unit]), 0), last)
            place.z = float(battle.height[cell]) / 255 * MAP_SIZE - MAP_SIZE / 2
            described.health = health[unit]
            described.weapon_cooldown = cooldown[unit]
            if kind.shield > 0:
                described.shield = shield[unit]
            if kind.energy_max > 0:
                described.energy = energy[unit]

    def stub(self) -> Message:
        """An observation that shows nothing but that the game is over."""
        sc2api = self._protocol.sc2api
        answer = sc2api.ResponseObservation()
        answer.observation.game_loop = _STUB_LOOP
        answer.player_result.add(player_id=_ALLY, result=sc2api.Undecided)
        return answer

    def game_info(self, map_path: str, *, packed: bool) -> Message:
        """The answer to a request for what stays the same in a game.

        Args:
            map_path: what the client called the map.
            packed: whether the pathing grid has a bit for each cell, as in 4.10, or a byte, as in
                4.6.2.
        """
        sc2api = self._protocol.sc2api
        battle = self._game.battle
        answer = sc2api.ResponseGameInfo(
            map_name=f"{battle.row.name} (stand-in)", local_map_path=map_path
        )
        answer.options.raw = True
        answer.player_info.add(player_id=_ALLY, type=sc2api.Participant, player_name="client")
        answer.player_info.add(player_id=_ENEMY, type=sc2api.Computer, player_name="stand-in")
        ground = answer.start_raw
        ground.map_size.x = ground.map_size.y = MAP_SIZE
        ground.playable_area.p1.x = ground.playable_area.p1.y = MAP_SIZE
        ground.playable_area.p0.x = ground.playable_area.p0.y = 0
        for grid in (ground.pathing_grid, ground.placement_grid):
            grid.bits_per_pixel = 1 if packed else 8
            grid.data = packed_grid(battle.pathable) if packed else blocked_grid(battle.pathable)
        ground.terrain_height.bits_per_pixel = 8
        ground.terrain_height.data = from_the_top(battle.height)
        for grid in (ground.pathing_grid, ground.placement_grid, ground.terrain_height):
            grid.size.x = grid.size.y = MAP_SIZE
        return answer

    def data(self) -> Message:
        """The answer to a request for the catalogue: this map's units, and what they can do."""
        answer = self._protocol.sc2api.ResponseData()
        for ability in Ability:
            answer.abilities.add(ability_id=ability, link_name=ability.name.lower())
        named = dict(zip(self._listed.type_numbers, self._listed.units, strict=True))
        for number, kind in sorted(named.items(), key=lambda entry: entry[0]):
            answer.units.add(unit_id=number, name=kind.name.capitalize(), available=True)
        return answer


def packed_grid(pathable: npt.NDArray[np.bool_]) -> bytes:
    """A bit for each cell, rows from y = 0, the first cell in the highest bit; 1 is pathable.

    Args:
        pathable: bool [X, Y].
    """
    return np.packbits(pathable.T, axis=1).tobytes()


def blocked_grid(pathable: npt.NDArray[np.bool_]) -> bytes:
    """A byte for each cell, rows from the top; 0 is pathable, 255 is not.

    Args:
        pathable: bool [X, Y].
    """
    return from_the_top(np.where(pathable, 0, 255).astype(np.uint8))


def from_the_top(grid: npt.NDArray[np.uint8]) -> bytes:
    """A byte for each cell, rows from the top.

    Args:
        grid: uint8 [X, Y].
    """
    return grid.T[::-1].tobytes()
