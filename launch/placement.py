"""What `dm2 local` chooses from the machine: how many actors, and what it warns of.

Nothing here may change what a repeatable run results in: the number of actors cannot, by design.
Only in `async`, which is not repeatable anyway, the size of a ticket is chosen, too. A pure
function of the machine and the configuration; used by `launch.local_run` and `launch.bench`.

Processes are neither pinned nor given priorities: docs/performance.md says why.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.envs.starcraft.installation_machine import LEARNERS_MEGABYTES, Needs
from launch.machine import Machine

_ASLEEP_PER_CORE = 16
"""Actors of a game that sleeps most of the time, for each core."""
LARGEST_TICKET = 64
"""Episodes of a ticket in `async`: more do not make an actor faster."""
_TICKETS_EACH = 2
"""In `async` every actor has at least so many tickets of an iteration, so that none stands idle."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user has said about it.

    Attributes:
        actors: number of actors; None leaves it to us.
        ticket_size_given: whether `collection.episodes_per_ticket` was named, or is fixed because
            the run has begun.
    """

    actors: int | None = None
    ticket_size_given: bool = True


@dataclass(frozen=True, slots=True)
class Placement:
    """What was chosen for a run.

    Attributes:
        config: of the run; another one than was given only in `async`.
        actors: actor processes.
        reasons: sentences that say what was chosen and why.
        warnings: sentences that say what is amiss, what it costs and what to pass.
    """

    config: RunConfig
    actors: int
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    def tell(self, say: Callable[[str], None]) -> None:
        """Say it all, a sentence at a time."""
        for sentence in (*self.reasons, *(f"warning: {warning}" for warning in self.warnings)):
            say(sentence)


def choose(
    machine: Machine,
    config: RunConfig,
    agents: int,
    wishes: Wishes = Wishes(),
    largest_ticket: int = LARGEST_TICKET,
) -> Placement:
    """Choose what the user left open.

    Args:
        machine: where the run will be.
        config: of the run.
        agents: K, the number of learners.
        wishes: what the user has said.
        largest_ticket: episodes or unrolls that may be chosen for a ticket.
    """
    reasons = []
    count = wishes.actors
    if count is None:
        count, why = _actors(machine, config)
        reasons.append(f"chose --actors {count}: {why}")
    sized = config
    if config.schedule == "async" and config.env == "skirmish" and not wishes.ticket_size_given:
        sized = _with_ticket_size(config, count, largest_ticket)
        size = sized.collection.episodes_per_ticket
        reasons.append(
            f"chose --collection.episodes-per-ticket {size}: {_TICKETS_EACH} tickets or more of an "
            "iteration for every actor"
        )
    return Placement(sized, count, tuple(reasons), tuple(_warnings(machine, sized, agents, count)))


def _actors(machine: Machine, config: RunConfig) -> tuple[int, str]:
    """How many actors, and why: the smallest of what cores, tickets and memory allow."""
    per_core = _ASLEEP_PER_CORE if config.env == "sleep" else 1
    on_cores = per_core * machine.cores
    each = "one for each usable core" if per_core == 1 else f"{per_core} for each usable core"
    useful = tickets.tickets_per_iteration(config)
    fitting = most_in_memory(machine, config)
    count = max(1, min(on_cores, useful, fitting))
    if count == on_cores:
        return count, each
    if count == useful:
        return count, f"an iteration has no more than {useful} tickets to play at the same time"
    return count, f"{_gigabytes(machine.memory_bytes)} of memory hold no more of them"


def most_in_memory(machine: Machine, config: RunConfig) -> int:
    """Actors that fit into the memory beside the learners, at least 1."""
    needs = Needs(actors=1, games=config.env == "smac")
    left = machine.memory_bytes // 2**20 - LEARNERS_MEGABYTES
    return max(1, left // needs.actor_megabytes)


def _with_ticket_size(config: RunConfig, actors: int, largest: int) -> RunConfig:
    """Tickets as large as they may be while every actor has some of an iteration."""
    share = config.collection.episodes_per_iteration // (_TICKETS_EACH * actors)
    size = 1
    while 2 * size <= min(share, largest):
        size *= 2
    return replace(config, collection=replace(config.collection, episodes_per_ticket=size))


def _warnings(machine: Machine, config: RunConfig, agents: int, actors: int) -> list[str]:
    said = []
    cores = machine.cores
    learning = agents * (config.learner_threads if config.device == "cpu" else 1)
    if learning > cores:
        said.append(
            f"{agents} learners want {_cores(learning)} and share {cores}: an update takes about "
            f"{learning / cores:.1f} times as long as with a core each; nothing passed here "
            "changes that, `dm2 learner` on other hosts does"
        )
    playing = 0 if config.env == "sleep" else actors
    if playing > cores:
        said.append(
            f"{actors} actors share {_cores(cores)}: no faster together than {cores} of them, and "
            f"they cost memory and processor time; pass --actors {cores}, or leave it out"
        )
    fitting = most_in_memory(machine, config)
    if actors > fitting:
        said.append(
            f"{actors} actors may not fit into {_gigabytes(machine.memory_bytes)} of memory beside "
            f"the learners; pass --actors {fitting}, or leave it out"
        )
    if config.device == "cuda" and 0 < machine.gpus < agents:
        said.append(
            f"{agents} learners share {machine.gpus} GPU{'s' * (machine.gpus > 1)}: their updates "
            "wait for each other"
        )
    return said


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
