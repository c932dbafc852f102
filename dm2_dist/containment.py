"""Whether what lies in a folder really lies there: links and special files lead elsewhere.

Used before a run directory is written and before demonstrations are read, both of which somebody
else may have made.
"""

import os
import stat
from collections.abc import Collection
from pathlib import Path


def first_escape(root: Path, folders: Collection[str]) -> Path | None:
    """Find something that is neither a folder nor a file of its own.

    Args:
        root: where to look; it may be reached by a link itself.
        folders: its folders that are searched to the bottom; of the others only the names count.

    Returns:
        The first symbolic link, pipe, device or socket; None if there is none.
    """
    for folder, below, files in os.walk(root):
        if Path(folder) == root:
            below[:] = [name for name in below if name in folders or (root / name).is_symlink()]
        for path in (Path(folder) / name for name in (*below, *files)):
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue  # somebody is at work there
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                return path
    return None
