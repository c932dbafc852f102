"""What K agents think with while they play unrolls: their policies and their critics, in NumPy.

Made from the snapshots that learners publish; used by `actors.unroll`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist import snapshot
from dm2_dist.envs.interface import BattleBatch
from dm2_dist.inference import StackedPolicy

_HEAD = ("head.weight", "head.bias")


class Team(NamedTuple):
    """K policies and K critics; a critic is asked for nothing but its core state."""

    policy: StackedPolicy
    critic: StackedPolicy


def assemble(snapshots: Sequence[Mapping[str, npt.NDArray[Any]]]) -> Team:
    """Stack the networks of a team.

    Args:
        snapshots: [K] each with the tensors of both networks (`dm2_dist.snapshot`).

    Raises:
        KeyError: a snapshot holds no critic.
    """
    policies, critics = [], []
    for own in snapshots:
        policy, critic = snapshot.policy_of(own), snapshot.critic_of(own)
        # The values are not needed here; a head of the policy's shape stands in for the critic's.
        empty = {name: np.zeros_like(policy[name]) for name in _HEAD}
        policies.append(policy)
        critics.append({name: critic[name] for name in policy} | empty)
    return Team(StackedPolicy(policies), StackedPolicy(critics))


class Watchers:
    """K critics that see what K agents see, and remember it.

    A critic goes on after its agent's death, for the team earns on; a policy rests.

    core_state: float32 [E, K, H] rewritten in place by every step.
    """

    def __init__(
        self, critic: StackedPolicy, battles: BattleBatch, action: npt.NDArray[np.int64]
    ) -> None:
        """Sit down beside the players.

        Args:
            critic: the K critics.
            battles: E battles, none of which is over when the critics look.
            action: int64 [E, K] last actions, kept up to date by the players; -1 where none.
        """
        from dm2_dist.inference_kernels import joint_step, layout

        self._critic, self._look = critic, joint_step.advance
        size, agents = action.shape
        self._scene = layout.Scene(
            battles.observation,
            battles.available_actions,
            np.ones((size, agents), np.uint8),
            np.zeros(size, np.uint8),
        )
        room = layout.make_memory(size, agents, critic.hidden_size, critic.num_actions)
        self._memory = room._replace(action=action)
        self._nothing, self._mode = np.empty(0, np.uint64), joint_step.LOGITS_ONLY
        self.core_state = self._memory.core_state

    def watch(self) -> None:
        """Take in what the battles show; to be called before the players act on it."""
        critic = self._critic
        self._look(
            critic.weights, self._scene, self._memory, critic.room, self._nothing, 0, self._mode
        )
