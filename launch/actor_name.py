"""What an actor that joins a run is called: in the books, in metrics, and in names of files.

Used by `launch.roles`.
"""

import re

from dm2_dist.config import ConfigError

_NAME = re.compile(r"actor-[A-Za-z0-9._-]{1,58}")


def make(host: str, pid: int) -> str:
    """A name that no other actor has, fit for files and metrics."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", host)[:40]
    return f"actor-{plain}-{pid}"


def check(name: str) -> None:
    """Refuse a name that a user made up and that does not fit.

    Raises:
        ConfigError: it does not.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name} is not an actor's name; use actor- and at most 58 letters, digits, "
            "dots, dashes and underscores"
        )
