"""Categorical policies over the legal actions only.

Unavailable actions get probability exactly zero. A row with a single legal action has
log-probability, entropy and gradient of exactly zero, so dead agents (only no-op is legal) never
move their policy.
"""

from typing import NamedTuple

import torch

# Finite, so that 0 * log 0 is 0 and not NaN; low enough for exp() to give exactly 0.
_UNAVAILABLE = -1e10


class LogProbs(NamedTuple):
    """What a policy says about the actions taken.

    taken: float32 [...] log-probability of the action taken.
    entropy: float32 [...] entropy over the legal actions, in nats.
    """

    taken: torch.Tensor
    entropy: torch.Tensor


class Choices(NamedTuple):
    """What was legal and what was chosen in R action rows, and which of them are looked at.

    unavailable: bool [R, A] true where an action is illegal.
    action: int64 [R] index of the action taken.
    row: int64 [...] an action row for each row of logits.
    """

    unavailable: torch.Tensor
    action: torch.Tensor
    row: torch.Tensor


def log_probs(logits: torch.Tensor, unavailable: torch.Tensor) -> torch.Tensor:
    """Log-softmax over the legal actions, float32 [..., A].

    Args:
        logits: float32 [..., A].
        unavailable: bool [..., A] true where the action is illegal.
    """
    return torch.log_softmax(logits.masked_fill(unavailable, _UNAVAILABLE), dim=-1)


def of_choices(logits: torch.Tensor, choices: Choices) -> LogProbs:
    """Log-probability of the actions taken, and the entropy, of logits [..., A]."""
    row = choices.row
    return evaluate(logits, choices.unavailable[row], choices.action[row])


def evaluate(logits: torch.Tensor, unavailable: torch.Tensor, action: torch.Tensor) -> LogProbs:
    """Log-probability of the actions taken, and the entropy.

    Args:
        logits: float32 [..., A].
        unavailable: bool [..., A] true where the action is illegal.
        action: int64 [...] index of the action taken.
    """
    assert logits.shape == unavailable.shape, (logits.shape, unavailable.shape)
    all_actions = log_probs(logits, unavailable)
    taken = all_actions.gather(-1, action.unsqueeze(-1)).squeeze(-1)
    entropy = -(all_actions.exp() * all_actions).sum(-1)
    return LogProbs(taken, entropy)
