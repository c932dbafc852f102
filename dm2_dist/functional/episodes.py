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
    episode: int64 [E] the episode at each place of the first time.
    """

    row: I64
    counts: list[int]
    episode: I64


class Chunks(NamedTuple):
    """Rows laid end to end and cut into pieces of equal length, time-major.

    row: int64 [L, C] the row; the padding at a chunk's end repeats its last row.
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
    """Order in which a recurrent network walks all N observation rows of episodes or pieces.

    Args:
        length: int32 [E] T_e of each episode.
    """
    num_rows = (length + 1).astype(np.int32)
    time, episode = row_time(num_rows), row_episode(num_rows)
    rank = np.empty(length.shape[0], dtype=np.int64)
    longest_first = np.argsort(-num_rows, kind="stable")
    rank[longest_first] = np.arange(length.shape[0])
    counts = np.bincount(time)
    return TimeOrder(np.lexsort((rank[episode], time)), counts.tolist(), longest_first)


def cut(row: I64, first: Bool, chunk_length: int, resumed: Bool | None = None) -> Chunks:
    """Cut rows laid end to end into chunks; padded is the last one, and who precedes a cut.

    Args:
        row: int64 [M] rows, episode after episode.
        first: bool [M] whether each of them opens an episode.
        chunk_length: L.
        resumed: bool [M] whether an episode goes on here that lies elsewhere or nowhere up to this
            row: a chunk begins with it, since a core state enters only at the start of a chunk.
    """
    num_rows = row.shape[0]
    cuts = np.flatnonzero(resumed[1:]) + 1 if resumed is not None else np.empty(0, np.int64)
    bounds = np.concatenate([[0], cuts, [num_rows]])
    # Chunks of each run of rows between two cuts.
    number = -(-np.diff(bounds) // chunk_length)
    within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    start = np.repeat(bounds[:-1], number) + within * chunk_length
    end = np.minimum(start + chunk_length, np.repeat(bounds[1:], number))
    place = start + np.arange(chunk_length)[:, None]
    inside = np.minimum(place, end - 1)
    return Chunks(row[inside], first[inside], place < end)


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
