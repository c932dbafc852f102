"""One learner on a GPU: its steps recorded, beside the same steps operation by operation.

Part of `dm2 bench learner` where there is such a device. In wall-clock, because the device works
while the host waits. Called by `launch.learner_bench`.
"""

import time
from collections.abc import Callable

import torch

from dm2_dist import trajectory
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from launch.bench_row import Row
from learners import batch as batches
from learners import estimation, ppo_steps
from learners.independent import IndependentLearner
from learners.optimiser import Networks

_STEPS_IN_A_ROW = 10
_LIMIT = "the same, operation by operation"


def rows(
    config: RunConfig, slice_: trajectory.Slice, device: torch.device, seconds: float
) -> list[Row]:
    """Seconds of a whole update, and rates of the steps of policy and critic on the whole batch.

    Args:
        config: the run; its algorithm is ippo or dm2.
        slice_: one iteration of agent 0, its demonstrations too.
        device: to measure.
        seconds: how long each kind of step is measured.
    """
    spec = make.describe(config.env, config.map)
    learner = IndependentLearner(config, spec, 0, device, slice_)
    learner.update(slice_, 0)  # records what is new to it
    name = f"learner on {_name(device)}"
    started = time.monotonic()
    learner.update(slice_, 1)
    measured = [Row(f"{name}, update", time.monotonic() - started, "s", None, "")]
    batch = batches.prepare(slice_, 0, spec.num_agents, config.chunk_length, device)
    walked = estimation.walk(learner.policy, learner.critic, batch)
    tasks, _ = learner._tasks(batch, batch.reward, walked)
    trained = Networks(
        learner.policy, learner._policy_optimiser, learner.critic, learner._critic_optimiser
    )
    launched = ppo_steps.Steps(trained, config.ppo, pads=False)
    for network in ("policy", "critic"):
        rates = []
        for steps in (learner._ppo, launched):
            step = getattr(steps, network)
            step.load(getattr(tasks, network).tensors())
            rates.append(_rate(step.take, device, seconds))
        measured.append(Row(f"{name}, {network} steps", rates[0], "steps/s", rates[1], _LIMIT))
    return measured


def _rate(step: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Steps per second in a row; the first are not measured."""
    done, started = 0, 0.0
    for turn in range(1 << 20):
        for _ in range(_STEPS_IN_A_ROW):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn == 0:
            started = time.monotonic()
            continue
        done += _STEPS_IN_A_ROW
        if time.monotonic() - started >= seconds:
            break
    return done / (time.monotonic() - started)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
