"""Which stage of a pipeline limits it, and what would move it, from its speeds and time shares.

Actors and learners share the cores of one machine. What two halves can reach together follows from
what each costs in core-seconds per env step; a run that stays below is waiting somewhere, and its
time shares say where. Fed by `launch.pipeline_bench`; the running commentary of a live run is
`monitoring.wording`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Stage = Literal["learners", "actors", "turns", "wire", "commit", "hand-over"]

IDLE = 0.15
"""A run that stays so far below what its halves could reach together is waiting somewhere."""
HEAVY_SEND = 0.1
"""Share of the actors' time in sending from which the wire is named."""
HEAVY_COMMIT = 0.1
"""Share of the learners' time in commits from which the disk is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Speeds of one configuration on one machine, in env steps/s.

    Attributes:
        schedule: of the run.
        cores: cores that all processes share.
        learners: K.
        threads: threads of a learner.
        on_gpu: whether learners compute on a GPU.
        actors: actor processes of the run.
        playing: actors alone, on all cores.
        learning: all learners at once, alone.
        whole: the run.
        time_share: fractions by phase for `actor` and `learner`; may be empty.
    """

    schedule: str
    cores: int
    learners: int
    threads: int
    on_gpu: bool
    actors: int
    playing: float
    learning: float
    whole: float
    time_share: Mapping[str, Mapping[str, float]]

    @property
    def learner_cores(self) -> int:
        """Cores that the learners keep busy when they have data."""
        return min(self.cores, self.learners * (1 if self.on_gpu else self.threads))

    @property
    def ceiling(self) -> float:
        """What the halves can reach together, with nothing lost in between, in env steps/s.

        By turns, their times add up. Otherwise their work does, on the cores that they share; and
        nothing is faster than its slower half.
        """
        if self.schedule == "sync":
            return 1.0 / (1.0 / self.playing + 1.0 / self.learning)
        work = self.cores / self.playing + self.learner_cores / self.learning
        return min(self.cores / work, self.playing, self.learning)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The stage that sets the pace, and a sentence that says so and names the mend."""

    stage: Stage
    sentence: str


def explain(pace: Pace) -> Verdict:
    """Name the stage that limits a run and what would move it."""
    idle = 1.0 - pace.whole / pace.ceiling
    if idle > IDLE:
        return _waiting(pace, idle)
    if pace.schedule == "sync" and pace.ceiling < (1.0 - IDLE) * min(pace.playing, pace.learning):
        share = pace.ceiling / pace.playing
        return Verdict(
            "turns",
            f"actors and learners take turns: playing takes {share:.0%} of the time, learning the "
            "rest; --schedule pipelined plays the next iteration while this one is learnt",
        )
    return _learners(pace) if pace.learning <= pace.playing else _actors(pace)


def _learners(pace: Pace) -> Verdict:
    times = pace.playing / pace.learning
    head = f"learners are the bottleneck: actors alone are {times:.1f} times as fast"
    wanted = pace.learners * (1 if pace.on_gpu else pace.threads)
    if pace.learner_cores < wanted:
        reach = min(pace.learning * wanted / pace.cores, pace.playing)
        mend = (
            f"{pace.learners} learners share {_cores(pace.cores)}: {wanted} cores, here or on "
            f"other hosts (dm2 learner), would reach about {reach:,.0f} env steps/s; more actors "
            "would not"
        )
    elif pace.on_gpu:
        mend = "a GPU for each learner moves it, more actors do not"
    else:
        mend = (
            "every learner has a core: a GPU (--device cuda) or more threads "
            "(--learner-threads, another result in the last bits) move it, more actors do not"
        )
    return Verdict("learners", f"{head}; {mend}")


def _actors(pace: Pace) -> Verdict:
    times = pace.learning / pace.playing
    head = f"actors are the bottleneck: learners alone are {times:.1f} times as fast"
    if pace.actors < pace.cores:
        mend = f"pass --actors {pace.cores}, one for each core"
    else:
        reach = min(2.0 * pace.playing, pace.learning)
        mend = (
            f"actors on as many cores again (dm2 actor on other hosts) would reach about "
            f"{reach:,.0f} env steps/s; more actors on this machine would not"
        )
    return Verdict("actors", f"{head}; {mend}")


def _waiting(pace: Pace, idle: float) -> Verdict:
    """The halves could do more together: say in which phase the time is spent instead."""
    actor, learner = (pace.time_share.get(role, {}) for role in ("actor", "learner"))
    head = f"{idle:.0%} of what the halves could do together is lost"
    sending, committing = actor.get("send", 0.0), learner.get("checkpoint", 0.0)
    if sending >= HEAVY_SEND:
        return Verdict(
            "wire",
            f"{head} on the wire: actors spend {sending:.0%} of their time sending; "
            "larger tickets (collection.episodes_per_ticket) send fewer messages",
        )
    if committing >= HEAVY_COMMIT:
        return Verdict(
            "commit",
            f"{head} in commits: learners spend {committing:.0%} of their time writing; "
            "put --run-dir on a faster disk",
        )
    waits = {name: share for name, share in actor.items() if name.startswith("wait")}
    waits["settle"] = actor.get("settle", 0.0)
    longest = max(waits, key=lambda name: waits[name])
    return Verdict(
        "hand-over",
        f"{head} between the stages: actors wait {sum(waits.values()):.0%} of their time (most of "
        f"it in {longest}), learners {learner.get('wait_data', 0.0):.0%}; on a machine that others "
        "use, measure again when it is idle; otherwise try a few more actors",
    )


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"
