"""One battle commanded unit by unit and loop by loop, as the game's raw interface does it.

`SkirmishBatch` plays environment steps of many battles and shows features. This is the same battle,
bit for bit, for whoever speaks the game's own language: the stand-in server `envs/sc2_standin`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.kernels import command, field

Reals = npt.NDArray[np.float64]


class RawBattle:
    """One battle: a pure function of its seed, the commands, and how many loops pass between them.

    Battle `n` of `SkirmishEnv(map_name, seed=s)` is the battle that `begin` starts from
    `draw.derived_seed(s, n)`, if the loops are played eight at a time.

    Attributes:
        row: the map.
        num_units: units of both sides, agents first.
        age: loops since the start of the battle.
    """

    def __init__(self, map_name: str) -> None:
        """Prepare the arrays; call `begin` before anything else.

        Args:
            map_name: name of the map, or path of a scenario.

        Raises:
            UnknownMapError: no such map.
        """
        # A batch knows how to lay these arrays out; its features are not computed.
        batch = SkirmishBatch(map_name, 1, compute_state=False)
        self.row = batch.row
        self.num_units = batch.num_agents + batch.num_enemies
        self._world, self._battles = batch._world, batch._battles
        self.age = 0

    def begin(self, seed: int) -> None:
        """Start afresh.

        Args:
            seed: 64 bits.
        """
        self._battles.seed[0] = seed
        command.begin(self._world, self._battles)
        self.age = 0

    def play(self, loops: int) -> int:
        """Let loops pass, or fewer if nobody is left; returns how many did."""
        played = command.play(self._world, self._battles, self.age, loops)
        self.age += played
        return played

    def stop(self, unit: int) -> None:
        """Let a unit drop what it is doing."""
        command.command(self._world, self._battles, unit, command.STOP, unit, (0.0, 0.0))

    def send(self, unit: int, point: tuple[float, float]) -> None:
        """Let a unit walk to a point."""
        command.command(self._world, self._battles, unit, command.MOVE_TO, unit, point)

    def target(self, unit: int, other: int) -> None:
        """Let a unit attack another one or, if it is a healer, treat it.

        What the unit cannot do is refused: it goes on with what it did before.
        """
        command.command(self._world, self._battles, unit, command.TARGET_UNIT, other, (0.0, 0.0))

    def kill(self, units: Iterable[int]) -> None:
        """Leave units without health; they are buried at the end of the next loop."""
        chosen = list(units)
        self._battles.real[0, field.HEALTH, chosen] = 0.0
        self._battles.real[0, field.SHIELD, chosen] = 0.0

    def healer(self, unit: int) -> bool:
        """Whether a unit heals instead of fighting."""
        return bool(self._world.trait[field.HEALER, unit] > 0.0)

    @property
    def living(self) -> npt.NDArray[np.bool_]:
        """Who is left, bool [U]."""
        left: npt.NDArray[np.bool_] = self._battles.integer[0, field.ALIVE] == 1
        return left & np.greater(self.health, 0.0)

    def _row(self, name: int) -> Reals:
        row: Reals = self._battles.real[0, name]
        return row

    @property
    def x(self) -> Reals:
        """float64 [U] of every unit; like all that follow, rounded to single precision."""
        return self._row(field.X)

    @property
    def y(self) -> Reals:
        """float64 [U]."""
        return self._row(field.Y)

    @property
    def health(self) -> Reals:
        """float64 [U] health, 0 when dead."""
        return self._row(field.HEALTH)

    @property
    def shield(self) -> Reals:
        """float64 [U] shield."""
        return self._row(field.SHIELD)

    @property
    def energy(self) -> Reals:
        """float64 [U] energy."""
        return self._row(field.ENERGY)

    @property
    def cooldown(self) -> Reals:
        """float64 [U] loops until the weapon is ready."""
        return self._row(field.COOLDOWN)

    @property
    def pathable(self) -> npt.NDArray[np.bool_]:
        """Where units can walk, bool [32, 32] indexed [x, y]."""
        ground: npt.NDArray[np.bool_] = self._world.cell != field.CLIFF
        return ground

    @property
    def height(self) -> npt.NDArray[np.uint8]:
        """Height bytes, uint8 [32, 32] indexed [x, y]; byte b is b / 255 * 32 - 16 cells high."""
        return self._world.height


def compile_kernels() -> None:
    """Compile what a battle needs, which takes long on a new machine, before anybody waits."""
    battle = RawBattle("3m")
    battle.begin(0)
    battle.stop(0)
    battle.play(1)
