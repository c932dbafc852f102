"""What a learner tells the head, twice a second and on every change. Said by `learners.intake`."""

from collections.abc import Mapping

from dm2_dist.comms import messages
from dm2_dist.trajectory import Slice
from learners.journal import Journal


def heartbeat(
    source: messages.Source,
    agent: int,
    journal: Journal,
    buffer: Mapping[int, Mapping[int, Slice]],
    phases: Mapping[str, float],
) -> messages.LearnerBeat:
    """The heartbeat of a learner that has made its first commit.

    Args:
        source: who says it.
        agent: the seat it trains.
        journal: books, versions and the newest commit.
        buffer: iteration -> ticket index -> what arrived of it.
        phases: seconds the trainer spent so far, by phase.
    """
    newest = journal.newest
    assert newest is not None
    account = journal.book.account()
    return messages.LearnerBeat(
        source=source,
        agent=agent,
        version=newest.version,
        env_steps={str(version): steps for version, steps in journal.versions.env_steps.items()},
        received={str(i): indices for i, indices in journal.book.buffered().items()},
        received_env_steps={
            str(i): sum(part.env_steps for part in parts.values()) for i, parts in buffer.items()
        },
        trained=account.trained,
        dropped=account.dropped,
        metrics=newest.metrics,
        phases=dict(phases),
        parameters_sha256=newest.parameters_sha256,
    )
