"""A window on the screen for pictures of a battle.

Uses the window kit of the standard library, imported only when a window is opened. Fed by
`environment.SkirmishEnv.render`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_NO_SCREEN = "cannot open a window ({}): ask for 'rgb_array', the picture as an array, instead"


class Window:
    """One window; it takes the size of what it shows."""

    def __init__(self, title: str) -> None:
        """Open the window.

        Raises:
            RuntimeError: there is no screen, or Python was built without windows.
        """
        try:
            import tkinter
        except ImportError as error:
            raise RuntimeError(_NO_SCREEN.format(error)) from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise RuntimeError(_NO_SCREEN.format(error)) from error
        self._root.title(title)
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._picture: tkinter.PhotoImage | None = None

    def show(self, picture: npt.NDArray[np.uint8]) -> None:
        """Show a picture, uint8 [H, W, 3]."""
        import tkinter

        height, width, _ = picture.shape
        data = b"P6 %d %d 255\n" % (width, height) + picture.tobytes()
        # The kit forgets a picture that nobody holds.
        self._picture = tkinter.PhotoImage(master=self._root, data=data, format="PPM")
        self._label.configure(image=self._picture)
        self._root.update()

    def close(self) -> None:
        """Close the window."""
        self._root.destroy()
