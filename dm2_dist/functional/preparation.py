"""Compile the kernels, or load them from disk, before there is work for them.

Learners start side by side; without this each of them would compile the same code when its first
batch arrives, some seconds the first time on a machine. Called by `learners.warm`, which they are
forked from, and by whoever wants no surprise at the first step.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from dm2_dist.functional import (
    adam,
    categorical,
    discriminator_tiles,
    network_gradient,
    network_kernels,
    policy_gradient,
    ppo,
)

COMPILE_SECONDS = 120.0
"""Longest wait for another process that compiles."""

_LOG = logging.getLogger(__name__)


def compile_kernels() -> None:
    """Take one small step with each network; one process of this user at a time."""
    kernel: Any = network_kernels.relu_norm
    folder = Path(kernel.stats.cache_path)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "learners.lock", timeout=COMPILE_SECONDS)
    try:
        with lock:
            _small_steps()
    except Timeout:
        _LOG.warning("another process has compiled for %s s; not waiting", COMPILE_SECONDS)
        _small_steps()


def _small_steps() -> None:
    with torch.no_grad():
        _small_network()
        _small_discriminator()
        _small_losses()
        flat = adam.Flat(torch.zeros(4), torch.zeros(4), torch.zeros(4), torch.zeros(()))
        adam.update(flat, torch.zeros(4), torch.zeros(()), adam.Settings(1.0, 1.0, 1.0))


def _small_network() -> None:
    length, chunks, size = 2, 3, 4
    shapes = [(size, size), (size,), (size, size), (size,), (3 * size, size), (3 * size, size)]
    shapes += [(4, size), (2, size), (2,)]
    matrices = network_gradient.Matrices(*(torch.zeros(shape) for shape in shapes))
    inputs, keep = torch.zeros(length, chunks, size), torch.ones(length, chunks, 1)
    space = network_gradient.Workspace(size)
    outputs = network_gradient.forward(matrices, inputs, keep, torch.zeros(chunks, size), space)
    network_gradient.backward(matrices, inputs, keep, outputs, space)


def _small_discriminator() -> None:
    size = 4
    shapes = [(size, size), (size,), (size, size), (size,), (1, size), (1,)]
    parameters = discriminator_tiles.DiscriminatorParameters(*map(torch.zeros, shapes))
    table, row, share = torch.zeros(4, size), torch.arange(2), torch.full((2, 1), 0.5)
    discriminator_tiles.gradient(
        parameters, discriminator_tiles.Draw(table, table, row, row, share), 1.0
    )


def _small_losses() -> None:
    rows, row = torch.zeros(4), torch.arange(4)
    logits, none = torch.zeros(4, 2), torch.zeros(4, 2, dtype=torch.bool)
    choices = categorical.Choices(none, torch.zeros_like(row), row)
    ppo.policy_gradient(logits, choices, ppo.PolicyTargets(rows, rows, rows, rows), 0.1, 0.1)
    ppo.value_gradient(rows, ppo.ValueTargets(rows, rows, rows), 0.1, 1.0)
    aims = policy_gradient.PolicyTargets(rows, rows, rows)
    policy_gradient.policy_gradient(logits, choices, aims, 1.0, 0.1)
