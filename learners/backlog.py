"""What waits inside a learner, in bytes, beside the most that may, and who waits at its door.

Called by `learners.intake` at every heartbeat.
"""

import sys
from collections.abc import Iterable, Mapping

from dm2_dist.comms import endpoint, queue_limit
from dm2_dist.comms.codec import BODY_LIMIT, PARAMETERS_LIMIT
from dm2_dist.comms.mailbox import Mailbox
from dm2_dist.trajectory import Slice, arrays_of
from learners.handover import Handover
from learners.journal import Journal, Trained
from monitoring.metrics import LearnerMetrics


def show(
    metrics: LearnerMetrics,
    buffer: Mapping[int, Mapping[int, Slice]],
    handover: Handover,
    outbox: Mailbox[Trained],
    journal: Journal,
    open_tickets: int,
) -> None:
    """Bring the gauges of a learner's queues up to date, and the count of keys that it refused.

    Args:
        metrics: of the learner.
        buffer: open iteration -> ticket index -> what arrived.
        handover: iterations that wait for the trainer.
        outbox: what it trained, waiting to be committed.
        journal: with the parameter versions that actors may ask for.
        open_tickets: tickets of all iterations that may be open at once.
    """
    trajectories = open_tickets * BODY_LIMIT
    buffered = sum(num_bytes(parts.values()) for parts in buffer.values())
    metrics.queue("buffer", trajectories, buffered)
    batches = handover.waiting()
    metrics.queue("handover", trajectories, num_bytes(batch.data for batch in batches))
    trained = [len(item.state) + len(item.snapshot) for item in outbox.waiting()]
    newest = journal.newest
    largest = max([len(newest.state) + len(newest.snapshot) if newest else 0, *trained])
    metrics.queue("outbox", outbox.capacity * largest, sum(trained))
    versions = journal.versions
    metrics.queue("versions", versions.retained * PARAMETERS_LIMIT, versions.num_bytes)
    # One connection: what one actor can make wait here; so many times that for so many actors.
    for name, limit in queue_limit.of_learner(1).items():
        metrics.queue(name, limit)
    metrics.keys_refused(sum(endpoint.refused_keys().values()))
    _show_device(metrics)


def _show_device(metrics: LearnerMetrics) -> None:
    """The GPU's memory, where this process computes on one; torch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    device = max(range(torch.cuda.device_count()), key=torch.cuda.memory_allocated)
    limit = torch.cuda.get_device_properties(device).total_memory
    metrics.device_memory(torch.cuda.memory_allocated(device), limit)


def num_bytes(slices: Iterable[Slice]) -> int:
    """Bytes of the arrays in slices."""
    return sum(array.nbytes for part in slices for array in arrays_of(part).values())
