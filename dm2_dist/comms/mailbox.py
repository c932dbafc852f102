"""How another thread reaches the thread that owns the sockets: a bounded queue that wakes its poll.

Sockets never cross threads, and a waking socket would have to belong to exactly one sender; a pipe
may be written by any number of threads. Used by `learners` between training and communication.
"""

import contextlib
import os
import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """Items from any thread for the owner of the poll; at most `capacity` of them."""

    def __init__(self, capacity: int) -> None:
        """Open a mailbox that holds at most `capacity` items."""
        self.capacity = capacity
        self._items: deque[Item] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def post(self, item: Item) -> bool:
        """Leave an item and wake the owner; from any thread.

        Returns:
            False if the mailbox is full or closed: the item was not taken.
        """
        with self._lock:
            if self._closed or len(self._items) >= self.capacity:
                return False
            self._items.append(item)
            # A full pipe means that the owner has been woken often enough.
            with contextlib.suppress(BlockingIOError):
                os.write(self._write, b"\0")
            return True

    def take(self) -> list[Item]:
        """Everything posted since the last call, oldest first; from the owner's thread."""
        with self._lock:
            # While the items are locked: a byte read here belongs to an item taken here.
            with contextlib.suppress(BlockingIOError):
                while os.read(self._read, 4096):
                    pass
            items = list(self._items)
            self._items.clear()
            return items

    def waiting(self) -> list[Item]:
        """What `take` would give, left where it is; from any thread."""
        with self._lock:
            return list(self._items)

    def handles(self) -> list[int]:
        """What a poll must watch."""
        return [self._read]

    def close(self) -> None:
        """Refuse further items; what was not taken is gone."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._read)
                os.close(self._write)
