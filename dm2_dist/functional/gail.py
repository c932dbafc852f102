"""Adversarial imitation per agent (Ho and Ermon 2016; DM2; penalty of Gulrajani et al. 2017).

The discriminator's logit is high where the expert is likely: label 1 is the expert. At the optimum
the logit is log(p_expert / p_agent), which is the imitation reward, log D - log(1 - D), of an
observation. The gradient of the whole loss in closed form is in
`functional.discriminator_gradient`.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

TARGET_GRADIENT_NORM = 1.0


class DiscriminatorLoss(NamedTuple):
    """Scalars, float32 []: `total` is minimised, `accuracy` counts logits of the right sign."""

    total: torch.Tensor
    classification: torch.Tensor
    penalty: torch.Tensor
    accuracy: torch.Tensor
    logit_expert_mean: torch.Tensor
    logit_agent_mean: torch.Tensor


def classification_loss(
    expert_logit_expert_is_high: torch.Tensor, agent_logit_expert_is_high: torch.Tensor
) -> torch.Tensor:
    """Mean -log D over the expert plus mean -log(1 - D) over the agent, D = sigmoid(logit).

    Args:
        expert_logit_expert_is_high: float32 [n] logits of the demonstrator's observations.
        agent_logit_expert_is_high: float32 [m] logits of the agent's observations.
    """
    softplus = nn.functional.softplus
    expert = softplus(-expert_logit_expert_is_high).mean()
    return expert + softplus(agent_logit_expert_is_high).mean()


def interpolate(expert: torch.Tensor, agent: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Mix rows: alpha * expert + (1 - alpha) * agent, float32 [n, O].

    Args:
        expert: float32 [n, O].
        agent: float32 [n, O].
        alpha: float32 [n, 1] uniform in [0, 1), one per row.
    """
    assert expert.shape == agent.shape, (expert.shape, agent.shape)
    return agent + alpha * (expert - agent)


def gradient_penalty(gradient: torch.Tensor) -> torch.Tensor:
    """Mean of (||gradient|| - 1)^2, float32 [].

    Args:
        gradient: float32 [n, O] of the logit with respect to the interpolated observation.
    """
    norm: torch.Tensor = torch.linalg.vector_norm(gradient, dim=-1)
    return (norm - TARGET_GRADIENT_NORM).square().mean()


def living_time_log_ratio(expert_steps: float, agent_steps: float) -> float:
    """log(n_E / n), to be added to a logit learned on living rows only.

    A discriminator that sees as much of either side learns log(p_E / p) of the observations *given
    life*. Matching what was seen means matching visits per episode, log(n_E p_E / n p), where n is
    the living steps per episode. Without this term a team that is told apart easily, so that its
    logits are negative, earns by dying early.

    Args:
        expert_steps: n_E, living steps per episode of the demonstrator.
        agent_steps: n, living steps per episode of the agent.
    """
    return math.log(expert_steps / agent_steps)


def mixed_reward(
    env_reward: torch.Tensor,
    logit_expert_is_high: torch.Tensor,
    alive: torch.Tensor,
    coefficient: float,
) -> torch.Tensor:
    """Env reward plus coefficient * logit of the observation before the action, float32 [R].

    The imitation reward ends with the agent's life: its dead rows teach the discriminator nothing.

    Args:
        env_reward: float32 [R] team reward that followed the action.
        logit_expert_is_high: float32 [R] logit of the observation before the action.
        alive: float32 [R] 1 while the agent lives.
        coefficient: c.
    """
    assert env_reward.shape == logit_expert_is_high.shape == alive.shape
    return env_reward + coefficient * logit_expert_is_high * alive
