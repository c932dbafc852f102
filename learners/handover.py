"""Between a learner's two threads: whole iterations go to the trainer, in order.

The socket thread (`learners.intake`) puts; the trainer (`learners.loop`) takes.
"""

import threading
from collections import deque
from dataclasses import dataclass

from dm2_dist.trajectory import Slice


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything one iteration trains on: the tickets' slices laid end to end in ticket order."""

    iteration: int
    data: Slice


class Handover:
    """A queue of iterations that can be closed; both sides know what is in training."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._batches: deque[Batch] = deque()
        self._training: int | None = None
        self._closed = False

    def put(self, batch: Batch) -> None:
        """Offer the next iteration; the schedule opens at most lag + 1, which bounds the queue."""
        with self._condition:
            self._batches.append(batch)
            self._condition.notify()

    def take(self) -> Batch | None:
        """Wait for the next iteration and mark it as in training; None once closed."""
        with self._condition:
            while not self._batches and not self._closed:
                self._condition.wait()
            if self._closed:
                return None
            batch = self._batches.popleft()
            self._training = batch.iteration
            return batch

    def waiting(self) -> list[Batch]:
        """What nobody has taken yet, oldest first."""
        with self._condition:
            return list(self._batches)

    def committed(self, iteration: int) -> None:
        """The effect of an iteration is on disk."""
        with self._condition:
            if self._training == iteration:
                self._training = None

    def close(self) -> None:
        """Give out no more; what waits is forgotten here (the books still hold it)."""
        with self._condition:
            self._closed = True
            self._batches.clear()
            self._condition.notify_all()

    @property
    def idle(self) -> bool:
        """Nothing is in training."""
        with self._condition:
            return self._training is None
