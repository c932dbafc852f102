"""V-trace on ragged episodes: value targets from data of another policy (Espeholt et al. 2018).

With w = pi/mu the ratio of the target policy to the behaviour policy and g = 0 after a decision,
else the discount:

    delta_t = r_t + g_t V(x_{t+1}) - V(x_t)
    v_t     = V(x_t) + min(rho, w_t) delta_t + g_t lambda min(c, w_t) (v_{t+1} - V(x_{t+1})).

`rho` decides what the values converge to (those of a policy between mu and pi), `c` only how fast.
Rows lie as in `functional.gae`; nothing crosses from one episode to the next, and an episode that
was cut off bootstraps from its final observation.
"""

from typing import NamedTuple

import torch

from dm2_dist.functional import gae


class Trace(NamedTuple):
    """Constants of the recursion.

    discount: gamma.
    decay: lambda.
    rho: cap of the ratio before the temporal difference.
    c: cap of the ratio before the trace; at most `rho`.
    """

    discount: float
    decay: float
    rho: float
    c: float


class Corrected(NamedTuple):
    """What V-trace says of every action row, float32 [R] each.

    target: v_t, which the critic is to predict.
    advantage: delta_t + g_t lambda (v_{t+1} - V(x_{t+1})), for a surrogate that weighs each row
        with its own ratio: only what follows the row is corrected here. On policy it is GAE.
    one_step_advantage: r_t + g_t v_{t+1} - V(x_t), for the policy gradient; without its own ratio.
    """

    target: torch.Tensor
    advantage: torch.Tensor
    one_step_advantage: torch.Tensor


def corrected(
    reward: torch.Tensor,
    value: torch.Tensor,
    terminated: torch.Tensor,
    ratio: torch.Tensor,
    index: gae.EpisodeIndex,
    trace: Trace,
) -> Corrected:
    """Targets and advantages for one agent's episodes.

    Args:
        reward: float32 [R] reward that followed each action.
        value: float32 [N] value of each observation, final observations included.
        terminated: bool [E] the episode was decided, so its final value counts as zero.
        ratio: float32 [R] pi/mu of each action, not capped.
        index: where the rows lie.
        trace: constants.
    """
    assert ratio.shape == reward.shape, (ratio.shape, reward.shape)
    assert trace.rho >= trace.c, (trace.rho, trace.c)
    row = index.observation_row
    difference = gae.temporal_difference(reward, value, terminated, index, trace.discount)
    correction = _backwards(
        ratio.clamp_max(trace.rho) * difference,
        ratio.clamp_max(trace.c) * (trace.discount * trace.decay),
        index,
    )
    # The last row of an episode has nothing after it: v and V agree on the final observation.
    following = torch.zeros_like(correction)
    following[:-1] = correction[1:]
    following[index.last_row] = 0.0
    following *= trace.discount
    return Corrected(
        target=value[row] + correction,
        advantage=difference + trace.decay * following,
        one_step_advantage=difference + following,
    )


def _backwards(source: torch.Tensor, factor: torch.Tensor, index: gae.EpisodeIndex) -> torch.Tensor:
    """u_t = source_t + factor_t u_{t+1} within each episode, from zero after its end; all [R]."""
    num_episodes = index.last_row.shape[0]
    size = index.horizon * num_episodes
    sources, factors = source.new_zeros(size), factor.new_zeros(size)
    sources[index.grid], factors[index.grid] = source, factor
    steps = sources.view(index.horizon, num_episodes).unbind(0)
    weights = factors.view(index.horizon, num_episodes).unbind(0)
    for t in range(index.horizon - 2, -1, -1):
        steps[t].addcmul_(weights[t], steps[t + 1])
    return sources[index.grid]
