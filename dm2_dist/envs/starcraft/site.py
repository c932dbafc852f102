"""Where a game keeps its files, and whom its waiting keeps informed."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def _nothing() -> None:
    """Nobody has to be told that we wait."""


@dataclass(frozen=True, slots=True)
class Site:
    """The place of one actor's games; the games of an actor follow one another in it.

    name: of the actor, for messages and the record.
    shared: folder of the whole run: locks of the launches, and one record per game.
    log: file that takes the output of the game and of its client.
    on_wait: called a few times a second while a game is waited for; may raise to give up.
    """

    name: str
    shared: Path
    log: Path
    on_wait: Callable[[], None] = _nothing

    @property
    def own(self) -> Path:
        """Folder of this actor alone: the record of its game, and the game's temporary files."""
        return self.shared / self.name


FOLDER = "games"
"""Of the run directory: what `shared` is in a run."""


def in_run(root: Path, name: str, on_wait: Callable[[], None]) -> Site:
    """The site of an actor of the run in `root`."""
    return Site(name, root / FOLDER, root / "logs" / f"{name}.game.log", on_wait)


def temporary() -> Site:
    """A site of its own, for a game outside of any run; whoever made it removes `shared`."""
    folder = Path(tempfile.mkdtemp(prefix="dm2-game-"))
    return Site("game", folder, folder / "game.log")
