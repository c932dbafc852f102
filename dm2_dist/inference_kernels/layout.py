"""The arrays of a joint step: parameters, what is shown, what is remembered, and room to compute.

Made by `dm2_dist.inference`; read and written by `joint_step`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dm2_dist.inference_kernels.arithmetic import LANES

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

TILE = 16
"""Battles computed together; their activations fit into the nearest cache."""
NO_ACTION = -1
"""Last action at the start of an episode."""


class Weights(NamedTuple):
    """Folded parameters of K policies, float32; row 0 of every layer is its bias.

    first: [K, FIRST_CHOICE + A + 1 + O, H] bias; sum of the columns below; a row for each last
        action and one for none, the row of the agent's id added to each; rows of the observation.
    second: [K, 1 + H, H]
    gates_input: [K, 1 + H, 3H] reset, update, new.
    gates_core: [K, 1 + H, 3H]
    head: [K, 1 + H, A'] A' is A rounded up to full vectors.
    """

    first: F32
    second: F32
    gates_input: F32
    gates_core: F32
    head: F32


class Scene(NamedTuple):
    """What B battles show; see `envs.interface.BattleBatch`."""

    observation: F32
    available_actions: U8
    alive: U8
    finished: U8


class Memory(NamedTuple):
    """What is carried from step to step, and what the last one gave.

    core_state: float32 [B, K, H]
    action: int64 [B, K], -1 before the first step.
    log_prob: float32 [B, K]
    logits: float32 [B, K, A]
    """

    core_state: F32
    action: I64
    log_prob: F32
    logits: F32


class Room(NamedTuple):
    """Where a tile is computed; nothing in it outlives the tile.

    battle, action: int64 [TILE]
    observation: [TILE, O] hidden: [TILE, H] other: [TILE, H] core: [TILE, H]
    gates: [TILE, 3H] core_gates: [TILE, 3H] logits: [TILE, A'] lanes: [LANES]; float32
    weight: float64 [A]
    """

    battle: I64
    action: I64
    observation: F32
    hidden: F32
    other: F32
    core: F32
    gates: F32
    core_gates: F32
    logits: F32
    lanes: F32
    weight: F64


def make_room(weights: Weights, observation_size: int, num_actions: int) -> Room:
    """Allocate what tiles are computed in."""
    width = weights.second.shape[2]

    def rows(columns: int) -> F32:
        return np.zeros((TILE, columns), np.float32)

    return Room(
        battle=np.zeros(TILE, np.int64),
        action=np.zeros(TILE, np.int64),
        observation=rows(observation_size),
        hidden=rows(width),
        other=rows(width),
        core=rows(width),
        gates=rows(3 * width),
        core_gates=rows(3 * width),
        logits=rows(weights.head.shape[2]),
        lanes=np.zeros(LANES, np.float32),
        weight=np.zeros(num_actions, np.float64),
    )


def make_memory(size: int, num_agents: int, hidden_size: int, num_actions: int) -> Memory:
    """What `num_agents` agents remember before the first step of `size` battles."""
    return Memory(
        core_state=np.zeros((size, num_agents, hidden_size), np.float32),
        action=np.full((size, num_agents), NO_ACTION, np.int64),
        log_prob=np.zeros((size, num_agents), np.float32),
        logits=np.zeros((size, num_agents, num_actions), np.float32),
    )
