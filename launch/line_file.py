"""A file of JSON lines that a crash may have torn, taken up by its next writer.

Used by `launch.record`.
"""

import json
import logging
from pathlib import Path
from typing import Any

from dm2_dist import child
from dm2_dist.run_directory import read_lines, write_atomically

_LOG = logging.getLogger(__name__)


def mended(path: Path, keys: set[str]) -> list[dict[str, Any]]:
    """The lines of a file that have these keys; what a crash tore is taken out of the file.

    Args:
        path: of JSON lines, with no writer.
        keys: what every line of ours has.
    """
    lines = read_lines(path)
    whole = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    if path.exists() and path.read_bytes() != whole:
        _LOG.warning("mended path=%s lines=%s", path, len(lines))
        try:
            write_atomically(path, whole)
        except OSError as error:
            _LOG.warning("not mended: %s", child.explain(error))
    return [line for line in lines if keys <= line.keys()]
