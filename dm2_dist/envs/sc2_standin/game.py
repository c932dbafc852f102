"""The game behind the protocol: one battle after the other on one map, without a wire.

It behaves as SMAC's maps do: when nobody is left on either side, all units are created anew with
new tags, and the loops count on. Battle `n` of a game with seed `s` is battle `n` of
`SkirmishEnv(map_name, seed=s)`, as long as it is played from its first loop. Fed by `session`; what
it holds is described by `picture`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from enum import IntEnum

import numpy as np

from dm2_dist.envs.sc2_standin.fault import FaultPlan
from dm2_dist.envs.skirmish.kernels.draw import derived_seed
from dm2_dist.envs.skirmish.raw_battle import RawBattle

_TAG_SHIFT = 18
"""Tags of units created one after the other lie so many bits apart, as the game's do."""

_DECIMALS = 4
"""A walk's length is known to so many decimals."""


class Ability(IntEnum):
    """What a unit can be told."""

    STOP = 4
    MOVE = 16
    ATTACK = 23
    HEAL = 386


class Result(IntEnum):
    """Answer to a command."""

    SUCCESS = 1
    NOT_SUPPORTED = 2
    ERROR = 3
    CANT_TARGET_THAT_UNIT = 36


class Game:
    """The units of one game.

    Attributes:
        battle: the battle in progress.
        loop: loops since the game began.
        battles: battles begun.
        tags: tag of every unit of the battle, agents first.
    """

    def __init__(self, map_name: str, seed: int | None, faults: FaultPlan) -> None:
        """Create the units of the first battle.

        Args:
            map_name: name of the map.
            seed: names the sequence of battles; None draws one.
            faults: what shall go wrong.

        Raises:
            UnknownMapError: no such map.
        """
        self._faults = faults
        self._seed = secrets.randbits(63) if seed is None else seed
        self.battle = RawBattle(map_name)
        self.loop = 0
        self.battles = 0
        self.tags: list[int] = []
        self._unit_of: dict[int, int] = {}
        self._created = 0
        self._empty = False
        self._to_appear = 0
        self._order = list(range(self.battle.num_units))
        self._spawn()

    def _spawn(self) -> None:
        """Begin the next battle."""
        word = derived_seed(self._seed, self.battles)
        self.battle.begin(word)
        self.battles += 1
        units = self.battle.num_units
        first = self._created + 1
        self._created += units
        self.tags = [(first + index) << _TAG_SHIFT | 1 for index in range(units)]
        self._unit_of = {tag: unit for unit, tag in enumerate(self.tags)}
        self._empty = False
        self._to_appear = 0
        if self._faults.strikes("slow_spawn"):
            self._to_appear = int(self._faults.value("slow_spawn"))
        self._order = list(range(units))
        if self._faults.strikes("shuffle_enemies"):
            agents = self.battle.row.num_agents
            self._order[agents:] = sorted(
                self._order[agents:], key=lambda unit: derived_seed(word, unit - agents)
            )

    def listed(self) -> list[int]:
        """Units that an observation lists: the living, as far as they have appeared."""
        if self._empty:
            return []
        living = self.battle.living.tolist()
        shown = [unit for unit in self._order if living[unit]]
        if self._to_appear > 0:
            return shown[: max(1, self.battle.row.num_agents // 2)]
        return shown

    def step(self, loops: int) -> None:
        """Let loops pass."""
        left = loops
        while left > 0:
            left -= self._pass(left)

    def _pass(self, most: int) -> int:
        """Let some of the next loops pass; returns how many."""
        if self._empty:
            # The map's trigger acts one loop after the last unit has gone.
            played = 1
            self._spawn()
        elif self._to_appear > 0:
            played = min(self._to_appear, most)
            self._to_appear -= played
        else:
            played = self.battle.play(most)
            self._empty = not self.battle.living.any()
        self.loop += played
        return played

    def kill(self, tags: Iterable[int]) -> None:
        """Let units die at the next loop; tags of units that are not there are ignored."""
        self.battle.kill(self._unit_of[tag] for tag in tags if tag in self._unit_of)

    def wipe_out(self) -> None:
        """Let everybody die at the next loop."""
        self.battle.kill(range(self.battle.num_units))

    def command(
        self,
        ability: int,
        tags: Iterable[int],
        target: int | None,
        point: tuple[float, float] | None,
    ) -> Result:
        """Tell units what to do.

        Args:
            ability: what.
            tags: the units.
            target: tag of the unit that it is about, if any.
            point: point that it is about, if any, in single precision.

        Returns:
            Of the first unit that could not obey, why; else success.
        """
        results = [self._command_one(ability, tag, target, point) for tag in tags]
        refused = [result for result in results if result != Result.SUCCESS]
        return refused[0] if refused else Result.SUCCESS if results else Result.ERROR

    def _command_one(
        self, ability: int, tag: int, target: int | None, point: tuple[float, float] | None
    ) -> Result:
        unit = self._commanded(tag)
        if unit is None:
            return Result.ERROR
        match ability:
            case Ability.STOP:
                self.battle.stop(unit)
            case Ability.MOVE if point is not None:
                self.battle.send(unit, self._meant(unit, point))
            case Ability.ATTACK | Ability.HEAL if target is not None:
                return self._aim(unit, target, heals=ability == Ability.HEAL)
            case _:
                return Result.NOT_SUPPORTED
        return Result.SUCCESS

    def _commanded(self, tag: int) -> int | None:
        """The player's living unit of that tag."""
        unit = self._unit_of.get(tag)
        if unit is None or unit >= self.battle.row.num_agents or not self.battle.living[unit]:
            return None
        return unit

    def _aim(self, unit: int, target: int, *, heals: bool) -> Result:
        other = self._unit_of.get(target)
        if other is None or not self.battle.living[other]:
            return Result.CANT_TARGET_THAT_UNIT
        friend = other < self.battle.row.num_agents
        if friend != heals or heals != self.battle.healer(unit):
            return Result.CANT_TARGET_THAT_UNIT
        self.battle.target(unit, other)
        return Result.SUCCESS

    def _meant(self, unit: int, point: tuple[float, float]) -> tuple[float, float]:
        """The point that the client meant.

        A client adds a length to where the unit is, in double precision; the message carries the
        sum in single precision. The simulator adds without that loss. A length of few decimals can
        be recovered, and so the two stay equal bit for bit.
        """
        x, y = float(self.battle.x[unit]), float(self.battle.y[unit])
        return _unrounded(x, point[0]), _unrounded(y, point[1])


def _unrounded(here: float, received: float) -> float:
    """The sum of `here` and a length of few decimals that rounds to what was received, if any."""
    there = here + round(received - here, _DECIMALS)
    return there if float(np.float32(there)) == received else received
