"""What `render` shows of one battle: a picture as an array, or in a window.

Needs Pillow (the extra `pictures`), which is imported when a screen is made. Fed by the environment
that plays the battle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dm2_dist.envs.skirmish.batch import SkirmishBatch
    from dm2_dist.envs.skirmish.pictures.window import Window

_WINDOW_SHARE = 0.75
"""How much of SMAC's window the picture takes."""


class Screen:
    """Shows the first battle of a batch as it stands."""

    def __init__(self, batch: SkirmishBatch, window_size: tuple[int, int] = (1920, 1200)) -> None:
        """Prepare the pictures; no window is opened yet.

        Args:
            batch: the battle; with `trace=True` the pictures show shots.
            window_size: SMAC's `window_size_x` and `window_size_y`; a picture is three quarters as
                wide, in pixels, as the smaller of them.

        Raises:
            RuntimeError: there is no Pillow.
        """
        try:
            from dm2_dist.envs.skirmish.pictures import picture, scene
        except ModuleNotFoundError as error:
            raise RuntimeError(
                f"render needs {error.name}; install dm2-dist with the extra [pictures]"
            ) from error
        self._draw = picture.draw
        self._compose = scene.of_batch
        self._batch = batch
        self._stage = scene.make_stage(batch.row, batch.options)
        self._size = round(_WINDOW_SHARE * min(window_size))
        self._window: Window | None = None

    def picture(self, episode_return: float) -> npt.NDArray[np.uint8]:
        """Draw the battle.

        Args:
            episode_return: sum of the team's rewards so far, written above the battle.

        Returns:
            uint8 [H, W, 3].
        """
        shown = self._compose(self._stage, self._batch, 0, episode_return=episode_return)
        return self._draw(shown, size=self._size)

    def show(self, episode_return: float) -> None:
        """Draw the battle in a window, opened by the first call.

        Args:
            episode_return: sum of the team's rewards so far.

        Raises:
            RuntimeError: there is no screen to open a window on.
        """
        drawn = self.picture(episode_return)
        if self._window is None:
            from dm2_dist.envs.skirmish.pictures.window import Window

            self._window = Window(self._batch.map_name)
        self._window.show(drawn)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None
