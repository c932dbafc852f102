"""The unit of work: a ticket says what to play, with which policies, and where the result goes.

Playing a ticket is a pure function of (ticket, parameters): its episode seeds fix every random draw
and its size fixes every batch shape. So it can be played anywhere, twice, or again after a crash,
with the same result. Tickets are never stored: each is a function of the configuration and a few
integers. Made by `launch.dispatcher`, played by `actors.actor`, collected by `learners.intake`.
"""

import functools
from dataclasses import dataclass, replace

from dm2_dist import seeding
from dm2_dist.config import RunConfig

TRAIN = "train"
EVALUATE = "evaluate"
RECORD = "record"


@dataclass(frozen=True, slots=True)
class Ticket:
    """Episodes to play.

    kind: "train", "evaluate" or "record".
    iteration: for "train" the iteration i of the learners; for "evaluate" the policy version
        evaluated.
    index: position of the ticket in its iteration; learners concatenate in this order.
    seeds: one 64-bit seed per episode; it keys the environment's and the policies' draws.
    versions: [K] parameter version each seat is played with.
    greedy: take the most probable action instead of sampling.
    newest: each seat is played with the newest version that the actor holds, but none older than
        `versions` says.
    """

    kind: str
    iteration: int
    index: int
    seeds: tuple[int, ...]
    versions: tuple[int, ...]
    greedy: bool
    newest: bool = False

    @property
    def ticket_id(self) -> str:
        """A name unique in the run, for instance `train/12/3`."""
        return f"{self.kind}/{self.iteration}/{self.index}"


def train_version(config: RunConfig, iteration: int) -> int:
    """The version that iteration `iteration` is played with; in `async` the oldest it may be."""
    return max(0, iteration - config.max_lag)


def train_versions(config: RunConfig, iteration: int) -> range:
    """The versions that a seat of iteration `iteration` may have been played with.

    In `async` that may be one that another learner made ahead: it can have trained all the
    iterations that were open when ours was, and no other.
    """
    oldest = train_version(config, iteration)
    if config.schedule != "async":
        return range(oldest, oldest + 1)
    return range(oldest, iteration + config.max_lag + 2)


def tickets_per_iteration(config: RunConfig) -> int:
    """Tickets that one training iteration is cut into."""
    collection = config.collection
    return -(-collection.episodes_per_iteration // collection.episodes_per_ticket)


@functools.lru_cache(maxsize=8)
def train_tickets(config: RunConfig, iteration: int, num_agents: int) -> tuple[Ticket, ...]:
    """The tickets of one training iteration: B episodes in groups of `episodes_per_ticket`."""
    total = config.collection.episodes_per_iteration
    first = iteration * total
    version = train_version(config, iteration)
    work = _tickets(
        config, TRAIN, iteration, range(first, first + total), (version,) * num_agents, False
    )
    if config.schedule != "async":
        return work
    return tuple(replace(ticket, newest=True) for ticket in work)


@functools.lru_cache(maxsize=8)
def evaluate_tickets(config: RunConfig, version: int, num_agents: int) -> tuple[Ticket, ...]:
    """Greedy episodes with the parameters of one version; fresh seeds at every version."""
    total = config.evaluation.episodes
    first = version * total
    return _tickets(
        config, EVALUATE, version, range(first, first + total), (version,) * num_agents, True
    )


def record_tickets(
    config: RunConfig, episodes: int, versions: tuple[int, ...], greedy: bool
) -> tuple[Ticket, ...]:
    """Episodes of frozen policies for a demonstration file or a score."""
    return _tickets(config, RECORD, 0, range(episodes), versions, greedy)


def _tickets(
    config: RunConfig,
    kind: str,
    iteration: int,
    episodes: range,
    versions: tuple[int, ...],
    greedy: bool,
) -> tuple[Ticket, ...]:
    size = config.collection.episodes_per_ticket
    groups = [episodes[start : start + size] for start in range(0, len(episodes), size)]
    return tuple(
        Ticket(
            kind=kind,
            iteration=iteration,
            index=index,
            seeds=tuple(seeding.derive(config.seed, kind, episode) for episode in group),
            versions=versions,
            greedy=greedy,
        )
        for index, group in enumerate(groups)
    )
