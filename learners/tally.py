"""What came off a learner's wire in one turn of its socket thread, counted without locks.

Filled by `learners.intake`, which shows it to `monitoring.metrics` once per turn.
"""

from collections import Counter
from dataclasses import dataclass, field

from monitoring.metrics import LearnerMetrics


@dataclass(slots=True)
class Tally:
    """Counts since the last `show`: new trajectories, copies, drops by reason, messages, bytes."""

    received: int = 0
    resent: int = 0
    messages: int = 0
    num_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def show(self, metrics: LearnerMetrics, buffered: int) -> None:
        """Add the counts to the metrics, with the trajectories in hand now; and begin anew."""
        metrics.arrived(
            self.received,
            self.dropped,
            buffered,
            resent=self.resent,
            messages=self.messages,
            num_bytes=self.num_bytes,
        )
        self.received = self.resent = self.messages = self.num_bytes = 0
        self.dropped.clear()
