"""What a learner publishes of an agent: its policy, and in unroll mode its critic too.

An actor that plays unrolls ships what the critic remembers, so it needs the critic. Names of a
policy's tensors stand alone, as in every snapshot; a critic's come after `critic.`. Made by
`learners.independent`, taken apart by `actors.team`.
"""

from collections.abc import Mapping
from typing import TypeVar

_CRITIC = "critic."
_Tensor = TypeVar("_Tensor")


def join(policy: Mapping[str, _Tensor], critic: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """Tensors of both networks in one table."""
    return dict(policy) | {_CRITIC + name: tensor for name, tensor in critic.items()}


def policy_of(snapshot: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """The policy's tensors of a snapshot."""
    return {name: tensor for name, tensor in snapshot.items() if not name.startswith(_CRITIC)}


def critic_of(snapshot: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """The critic's tensors of a snapshot; empty if it has none."""
    return {
        name.removeprefix(_CRITIC): tensor
        for name, tensor in snapshot.items()
        if name.startswith(_CRITIC)
    }
