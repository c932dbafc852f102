"""Index arithmetic of ragged episodes: where the rows of a batch lie in time.

Episodes lie end to end without padding (see `dm2_dist.trajectory`): R action rows, N = R + E
observation rows. Everything here is NumPy on the host, computed once per batch and only from
`length`. Feeds `functional.gae`, `dm2_dist.networks` and `learners.independent`.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist import trajectory

I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


class TimeOrder(NamedTuple):
    """Observation rows sorted by time, longest episode first, so that a step is a prefix.

    row: int64 [N] the observation row at each place of the order.
    counts: episodes that still run at each time, non-increasing, sum N.
    """

    row: I64
    counts: list[int]


class Chunks(NamedTuple):
    """Rows laid end to end and cut into pieces of equal length, time-major.

    row: int64 [L, C] observation row; the padding of the last chunk repeats its last row.
    first: bool [L, C] the row opens an episode, so the core state is reset before it.
    valid: bool [L, C] false in the padding.
    """

    row: I64
    first: Bool
    valid: Bool


def row_time(length: trajectory.I32) -> I64:
    """Time t of each action row within its episode, int64 [R].

    Args:
        length: int32 [E] T_e of each episode.
    """
    starts = np.cumsum(length, dtype=np.int64) - length
    return np.arange(int(length.sum()), dtype=np.int64) - np.repeat(starts, length)


def row_episode(length: trajectory.I32) -> I64:
    """Episode e of each action row, int64 [R].

    Args:
        length: int32 [E] T_e of each episode.
    """
    return np.repeat(np.arange(length.shape[0], dtype=np.int64), length)


def time_order(length: trajectory.I32) -> TimeOrder:
    """Order in which a recurrent network walks all N observation rows of whole episodes.

    Args:
        length: int32 [E] T_e of each episode.
    """
    num_rows = (length + 1).astype(np.int32)
    time, episode = row_time(num_rows), row_episode(num_rows)
    rank = np.empty(length.shape[0], dtype=np.int64)
    rank[np.argsort(-num_rows, kind="stable")] = np.arange(length.shape[0])
    counts = np.bincount(time)
    return TimeOrder(np.lexsort((rank[episode], time)), counts.tolist())


def cut(row: I64, first: Bool, chunk_length: int) -> Chunks:
    """Cut rows laid end to end into chunks; only the last one is padded.

    Args:
        row: int64 [M] observation rows, episode after episode.
        first: bool [M] whether each of them opens an episode.
        chunk_length: L.
    """
    num_chunks = -(-row.shape[0] // chunk_length)
    place = np.arange(num_chunks * chunk_length).reshape(num_chunks, chunk_length).T
    inside = np.minimum(place, row.shape[0] - 1)
    return Chunks(row[inside], first[inside], place < row.shape[0])


def rows_until_last_alive(length: trajectory.I32, alive: Bool) -> I64:
    """Action rows up to the last one at which the agent lives, int64 [M], of every episode.

    Later rows carry no policy loss and feed no row that does, so a policy need not unroll them.

    Args:
        length: int32 [E] T_e of each episode.
        alive: bool [R] whether the agent lives at each action row.
    """
    time, episode = row_time(length), row_episode(length)
    last = np.zeros(length.shape[0], dtype=np.int64)
    np.maximum.at(last, episode, np.where(alive, time, 0))
    return np.flatnonzero(time <= last[episode])
