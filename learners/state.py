"""Named tensors of a learner: flat, hashed, copied. Used by `learners.independent`."""

import hashlib
from collections.abc import Mapping

import torch
from torch import nn

from dm2_dist import trajectory


def flat(named: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Groups of named tensors as one, for instance `policy.head.weight`; not copied."""
    return {f"{group}.{name}": t for group, tensors in named.items() for name, t in tensors.items()}


def arrays(network: nn.Module) -> dict[str, trajectory.F32]:
    """Copies of a network's tensors on the host."""
    return {name: t.detach().cpu().numpy().copy() for name, t in network.state_dict().items()}


def copy_into(
    tensors: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], agent: int
) -> None:
    """Overwrite `tensors` of agent k with `state`.

    Raises:
        ValueError: the names differ.
    """
    different = sorted(set(state) ^ set(tensors))
    if different:
        raise ValueError(f"agent {agent}: the state does not fit, see {different[0]}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(state[name])


def sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Hash names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
