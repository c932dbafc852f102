"""Generalised advantage estimation on ragged episodes (Schulman et al. 2016, equations 11 to 16).

Termination cuts the bootstrap, truncation bootstraps from the value of the final observation, and
nothing crosses from one episode to the next. The recursion runs over time for all episodes at once.
"""

from typing import NamedTuple

import torch

from dm2_dist import trajectory
from dm2_dist.functional import episodes


class EpisodeIndex(NamedTuple):
    """Where each action row lies; built once per batch.

    observation_row: int64 [R] the observation row of each action row.
    last_row: int64 [E] the last action row of each episode.
    grid: int64 [R] place t * E + e in a padded [T, E] grid.
    horizon: T, the longest episode.
    """

    observation_row: torch.Tensor
    last_row: torch.Tensor
    grid: torch.Tensor
    horizon: int


def index(length: trajectory.I32, device: torch.device) -> EpisodeIndex:
    """Index the action rows of episodes laid end to end.

    Args:
        length: int32 [E] T_e of each episode.
        device: where the index lives.
    """
    num_episodes = length.shape[0]
    grid = episodes.row_time(length) * num_episodes + episodes.row_episode(length)
    last_row = length.cumsum(dtype="int64") - 1
    return EpisodeIndex(
        observation_row=torch.from_numpy(trajectory.action_rows(length)).to(device),
        last_row=torch.from_numpy(last_row).to(device),
        grid=torch.from_numpy(grid).to(device),
        horizon=int(length.max()),
    )


def advantages(
    reward: torch.Tensor,
    value: torch.Tensor,
    terminated: torch.Tensor,
    index: EpisodeIndex,
    discount: float,
    gae_lambda: float,
) -> torch.Tensor:
    """A_t = sum_l (discount * gae_lambda)^l delta_{t+l}, delta_t = r_t + discount * V_{t+1} - V_t.

    Args:
        reward: float32 [R] reward that followed each action.
        value: float32 [N] value of each observation, final observations included.
        terminated: bool [E] the episode was decided, so its final value counts as zero.
        index: where the rows lie.
        discount: gamma.
        gae_lambda: lambda.

    Returns:
        float32 [R]; the return of a row is its advantage plus its value.
    """
    num_episodes = index.last_row.shape[0]
    delta = temporal_difference(reward, value, terminated, index, discount)
    grid = delta.new_zeros(index.horizon * num_episodes)
    grid[index.grid] = delta
    # Past the end of an episode the grid stays zero, so the recursion enters it with zero.
    steps = grid.view(index.horizon, num_episodes).unbind(0)
    for later, earlier in zip(reversed(steps[1:]), reversed(steps[:-1]), strict=True):
        earlier.add_(later, alpha=discount * gae_lambda)
    return grid[index.grid]


def temporal_difference(
    reward: torch.Tensor,
    value: torch.Tensor,
    terminated: torch.Tensor,
    index: EpisodeIndex,
    discount: float,
) -> torch.Tensor:
    """delta_t = r_t + discount * V_{t+1} - V_t, float32 [R]; V_{t+1} is zero after a decision.

    Args:
        reward: float32 [R] reward that followed each action.
        value: float32 [N] value of each observation, final observations included.
        terminated: bool [E] the episode was decided.
        index: where the rows lie.
        discount: gamma.
    """
    row = index.observation_row
    assert reward.shape == row.shape, (reward.shape, row.shape)
    assert value.shape[0] == row.shape[0] + index.last_row.shape[0], (value.shape, row.shape)
    continues = torch.ones_like(reward)
    continues[index.last_row] = (~terminated).to(reward.dtype)
    return reward + discount * continues * value[row + 1] - value[row]
