"""How `dm2 local` runs: what the command line says besides the configuration."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How, not what: nothing here changes the result of a run.

    actors: actor processes; None lets `launch.placement` choose.
    run_dir: folder of the run.
    metrics_port: None takes 9400, or a free port if that is taken; 0 a free port.
    plain: plain lines even on a terminal; json: JSON lines.
    trackers: names, for `launch.tracking`.
    ticket_size_given: whether the user named the size of a ticket, which is else chosen in `async`.
    """

    actors: int | None
    run_dir: Path
    resume: bool
    metrics_port: int | None
    plain: bool
    ticket_size_given: bool = True
    json: bool = False
    trackers: tuple[str, ...] = ()
