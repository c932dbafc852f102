"""One environment step of K policies in B battles, in one compiled call that allocates nothing.

A step is cut into tiles of a few battles of one agent, whose activations stay in the nearest cache.
Called by `dm2_dist.inference`; the plain version that it must agree with is in its test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dm2_dist.envs.skirmish.kernels.compiled import apart, entry, first_call, inner
from dm2_dist.inference_kernels.arithmetic import (
    FIRST_CHOICE,
    add_product,
    affine,
    clear,
    copy,
    finish_first_layer,
    rectify,
    recur,
    standardise,
)
from dm2_dist.inference_kernels.choice import choose, draw
from dm2_dist.inference_kernels.layout import TILE, Memory, Room, Scene, Weights, make_memory

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

__all__ = [
    "GREEDY",
    "LOGITS_ONLY",
    "SAMPLED",
    "Scene",
    "advance",
    "choose_all",
    "make_memory",
    "make_ready",
]

SAMPLED, GREEDY, LOGITS_ONLY = 0, 1, 2
"""What is done with the logits."""


@inner
def _fill_tile(scene: Scene, battle: I64, k: int, b: int) -> tuple[int, int]:
    """Name the next battles in which agent k has to think.

    Returns:
        How many they are, and the battle at which to go on.
    """
    num_rows = 0
    while b < scene.finished.size and num_rows < TILE:
        if scene.finished[b] == 0 and scene.alive[b, k] != 0:
            battle[num_rows] = b
            num_rows += 1
        b += 1
    return num_rows, b


@apart
def _play_tile(
    weights: Weights, scene: Scene, memory: Memory, room: Room, k: int, num_rows: int
) -> None:
    """Logits and next core states of agent k in the battles of a tile."""
    for i in range(num_rows):
        b = room.battle[i]
        room.action[i] = memory.action[b, k]
        copy(scene.observation[b, k], room.observation[i])
        copy(memory.core_state[b, k], room.core[i])
    first = weights.first[k]
    sizes = first.shape[0] - FIRST_CHOICE - 1 + weights.first.shape[0]
    lanes = room.lanes
    clear(room.hidden, num_rows)
    seen = first[first.shape[0] - room.observation.shape[1] :]
    add_product(room.observation, seen, room.hidden, num_rows)
    finish_first_layer(
        room.observation, room.action, first, np.float32(sizes), room.hidden, num_rows, lanes
    )
    standardise(room.hidden, num_rows, lanes)
    affine(room.hidden, weights.second[k], room.other, num_rows)
    rectify(room.other, num_rows)
    standardise(room.other, num_rows, lanes)
    affine(room.other, weights.gates_input[k], room.gates, num_rows)
    affine(room.core, weights.gates_core[k], room.core_gates, num_rows)
    recur(room.gates, room.core_gates, room.core, num_rows)
    for i in range(num_rows):
        copy(room.core[i], memory.core_state[room.battle[i], k])
    standardise(room.core, num_rows, lanes)
    affine(room.core, weights.head[k], room.logits, num_rows)
    for i in range(num_rows):
        copy(room.logits[i], memory.logits[room.battle[i], k])


Advance = Callable[[Weights, Scene, Memory, Room, U64, int, int], int]
ChooseAll = Callable[[F32, U8, F64, I64, F32, F64], None]


def _compiled_step(digest: int) -> Advance:
    """Make an entry point; the digest of the sources becomes part of its key in the cache."""

    @entry
    def advance(
        weights: Weights, scene: Scene, memory: Memory, room: Room, seeds: U64, step: int, mode: int
    ) -> int:
        assert digest >= 0
        running = 0
        for over in scene.finished:
            running += over == 0
        for k in range(weights.first.shape[0]):
            b = 0
            while b < scene.finished.size:
                num_rows, b = _fill_tile(scene, room.battle, k, b)
                _play_tile(weights, scene, memory, room, k, num_rows)
        if mode == LOGITS_ONLY:
            return running
        for b in range(scene.finished.size):
            if scene.finished[b] != 0:
                continue
            for k in range(weights.first.shape[0]):
                action, log_prob = choose(
                    memory.logits[b, k],
                    scene.available_actions[b, k],
                    mode == GREEDY,
                    draw(seeds[b], step, k),
                    room.weight,
                )
                memory.action[b, k] = action
                memory.log_prob[b, k] = log_prob
        return running

    return advance


def _compiled_choice(digest: int) -> ChooseAll:
    """Make the other entry point, in the same way."""

    @entry
    def choose_all(
        logits: F32, available: U8, uniforms: F64, action: I64, log_prob: F32, weight: F64
    ) -> None:
        assert digest >= 0
        for b in range(logits.shape[0]):
            for k in range(logits.shape[1]):
                action[b, k], log_prob[b, k] = choose(
                    logits[b, k], available[b, k], False, uniforms[b, k], weight
                )

    return choose_all


def _source_digest() -> int:
    """A number that changes whenever one of these modules does."""
    digest = hashlib.blake2b(digest_size=7)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest(), "big")


_DIGEST = _source_digest()
_advance = _compiled_step(_DIGEST)
_choose_all = _compiled_choice(_DIGEST)


def make_ready(weights: Weights, room: Room, num_actions: int) -> None:
    """Have the machine code of `advance`, from disk or compiled now, once in a process."""
    num_agents, hidden_size = weights.second.shape[0], weights.second.shape[2]
    scene = Scene(
        np.zeros((0, num_agents, room.observation.shape[1]), np.float32),
        np.zeros((0, num_agents, num_actions), np.uint8),
        np.zeros((0, num_agents), np.uint8),
        np.zeros(0, np.uint8),
    )
    memory = make_memory(0, num_agents, hidden_size, num_actions)
    with first_call(_advance, _DIGEST, "advance"):
        advance(weights, scene, memory, room, np.zeros(0, np.uint64), 0, LOGITS_ONLY)


def choose_all(logits: F32, available: U8, uniforms: F64, action: I64, log_prob: F32) -> None:
    """Sample an action for every agent.

    Args:
        logits: float32 [B, K, A].
        available: uint8 [B, K, A] 1 where the action is legal.
        uniforms: float64 [B, K] in [0, 1).
        action: int64 [B, K] to be written.
        log_prob: float32 [B, K] to be written.
    """
    weight = np.empty(logits.shape[2])
    with first_call(_choose_all, _DIGEST, "choose"):
        _choose_all(logits, available, uniforms, action, log_prob, weight)


def advance(
    weights: Weights, scene: Scene, memory: Memory, room: Room, seeds: U64, step: int, mode: int
) -> int:
    """Play the policies' part of one environment step in every unfinished battle.

    A dead agent costs nothing: its core state and its logits stay what they were, and the only
    action that it has is chosen with certainty.

    Args:
        weights: of the K policies.
        scene: what the battles show.
        memory: core states and last actions, brought up to date in place.
        room: workspace.
        seeds: uint64 [B] of the draws.
        step: counter of the draws.
        mode: `SAMPLED`, `GREEDY` or `LOGITS_ONLY`.

    Returns:
        How many battles are unfinished.
    """
    return _advance(weights, scene, memory, room, seeds, step, mode)
