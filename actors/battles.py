"""The battles that an actor steps: made once per size, and a real game's process with them."""

from collections.abc import Callable
from pathlib import Path

from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import BattleBatch, GameBatch
from dm2_dist.ticket import Ticket


class Battles:
    """What an actor plays with, from its start to its end.

    A batch lives as long as the actor, and every ticket starts it anew.
    """

    def __init__(
        self, config: RunConfig, root: Path, name: str, on_wait: Callable[[], None]
    ) -> None:
        """Prepare; battles are made when they are asked for.

        Args:
            config: of the run.
            root: the run directory, in which a real game keeps its files.
            name: of the actor.
            on_wait: called while a real game is waited for; may raise to give up.
        """
        self._config = config
        self._batches: dict[int, BattleBatch] = {}
        self._root, self._name, self._on_wait = root, name, on_wait

    @property
    def game(self) -> GameBatch | None:
        """The battles of a real game, if this run has one."""
        if self._config.env != "smac":
            return None
        batch = self._sized(1)
        assert isinstance(batch, GameBatch), "a real game is kept by its batch"
        return batch

    def open(self) -> None:
        """Have a real game ready, where there is one, before a ticket waits for it.

        Raises:
            NoGameError: none can be had.
        """
        if self.game is not None:
            self.game.open()

    def of(self, ticket: Ticket) -> BattleBatch:
        """Battles for the episodes of a ticket."""
        return self._sized(len(ticket.seeds))

    def close(self) -> None:
        """End the real game, where there is one."""
        if self.game is not None:
            self.game.close()

    def _sized(self, size: int) -> BattleBatch:
        if size not in self._batches:
            config, site = self._config, None
            if config.env == "smac":
                from dm2_dist.envs.starcraft import site as sites

                site = sites.in_run(self._root, self._name, self._on_wait)
            self._batches[size] = make.make_batch(config.env, config.map, size, config.games, site)
        return self._batches[size]
