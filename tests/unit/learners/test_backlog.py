"""The gauges of a learner's queues: what waits, and the most that may."""

from pathlib import Path

import numpy as np

from dm2_dist.comms.codec import BODY_LIMIT, PARAMETERS_LIMIT
from dm2_dist.comms.mailbox import Mailbox
from dm2_dist.trajectory import SLICE_FIELDS, Slice
from learners import backlog
from learners.handover import Batch, Handover
from learners.journal import Journal, Trained
from learners.publisher import Versions
from monitoring import catalogue
from monitoring.metrics import LearnerMetrics


def slice_of(steps: int) -> Slice:
    return Slice(
        observation=np.zeros((steps + 1, 4), np.float32),
        available_actions=np.ones((steps + 1, 3), np.uint8),
        alive=np.ones(steps + 1, np.uint8),
        action=np.zeros(steps, np.uint8),
        behaviour_log_prob=np.zeros(steps, np.float32),
        reward=np.zeros(steps, np.float32),
        length=np.array([steps], np.int32),
        terminated=np.ones(1, np.uint8),
        truncated=np.zeros(1, np.uint8),
        won=np.zeros(1, np.uint8),
    )


def test_every_queue_of_a_learner_shows_its_use_and_its_bound(tmp_path: Path) -> None:
    metrics, handover = LearnerMetrics("r1", 0), Handover()
    outbox: Mailbox[Trained] = Mailbox(capacity=4)
    versions = Versions(0, tmp_path, 6)
    journal = Journal(tmp_path, versions)
    first, second = slice_of(5), slice_of(9)
    versions.keep(0, b"s" * 30, 0)
    handover.put(Batch(0, second))
    outbox.post(Trained(1, 9, b"a" * 70, b"b" * 20, "", {}))
    try:
        backlog.show(metrics, {0: {1: first}, 1: {0: second}}, handover, outbox, journal, 8)
    finally:
        outbox.close()

    def read(kind: str) -> dict[str, float]:
        [family] = [
            found
            for found in metrics.registry.collect()
            if found.name == f"dm2_learner_queue{kind}_bytes"
        ]
        return {sample.labels["queue"]: sample.value for sample in family.samples}

    large = sum(getattr(second, name).nbytes for name in SLICE_FIELDS)
    small = backlog.num_bytes([first])
    assert 0 < small < large
    assert read("") == {
        "buffer": small + large,
        "handover": large,
        "outbox": 90,
        "versions": 30,
    }
    limits = read("_limit")
    assert set(limits) == set(catalogue.LEARNER_QUEUES)
    assert limits["buffer"] == limits["handover"] == 8 * BODY_LIMIT
    assert limits["outbox"] == 4 * 90
    assert limits["versions"] == 6 * PARAMETERS_LIMIT
