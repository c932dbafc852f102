"""One learner on one thread beside the matrix-product peak: `dm2 bench learner`.

Work is counted by what the mathematics needs, two floating-point operations for each multiply-add
of the matrix products: forward, gradient of the inputs (not those of the first layer), gradient of
the matrices. Elementwise operations, padding and the optimiser count as nothing, so the ratio to
the peak says how much of the time is arithmetic that cannot be avoided. Everything is measured in
turns and in processor time, because other processes come and go.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from dm2_dist import networks, trajectory
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import EnvironmentSpec
from dm2_dist.functional import episodes, gail
from dm2_dist.functional.discriminator_gradient import Draw
from launch import device_bench, untrained
from launch.bench_row import Row
from learners import batch as batches
from learners import estimation
from learners.imitation import Imitation, alive_rows
from learners.independent import IndependentLearner
from monitoring.time_budget import TimeBudget

_PRODUCT_SIZE = 1024
_DRAWS = 8
_PHASES = ("prepare", "discriminator", "ppo")
_MINIMUM_TURNS = 3
_SECONDS_IN_A_ROW = 0.03
_PEAK = "float32 products of 1024 x 1024"
_CPU = torch.device("cpu")


def rows(config: RunConfig, seconds: float) -> list[Row]:
    """Speeds of one learner's steps beside their limits, and the seconds of one whole update.

    Args:
        config: the run; its algorithm is ippo or dm2. Demonstrations are not read.
        seconds: how long the steps are measured, in processor time.
    """
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("error")
    if config.uses_demonstrations:
        # Read by nobody: the learner is handed its own episodes as demonstrations.
        config = replace(config, demonstrations=config.demonstrations or "untrained")
    spec, slice_ = make.describe(config.env, config.map), untrained.one_iteration(config)[0]
    learner = IndependentLearner(config, spec, 0, _CPU, slice_)
    learner.update(slice_, 0)
    budget = TimeBudget(_PHASES)
    learner.update(slice_, 1, budget.enter)
    budget.enter("other")
    phases = budget.totals()
    steps, work = _ppo_steps(config, spec, learner, slice_)
    steps["peak"], work["peak"] = _product(), 2.0 * _PRODUCT_SIZE**3
    if learner.imitation is not None:
        ours, flops = _discriminator_step(config, learner.imitation, slice_)
        steps["discriminator step"], work["discriminator step"] = ours, flops
        steps["plain"] = _plain_step(config, learner.imitation, slice_)
    taken = _in_turns(steps, seconds)
    peak = work["peak"] / taken["peak"] / 1e9
    measured = [
        Row(f"learner, {name}", flops / taken[name] / 1e9, "GFLOP/s", peak, _PEAK)
        for name, flops in work.items()
        if name != "peak"
    ]
    if "plain" in taken:
        rate, plain = 1.0 / taken["discriminator step"], 1.0 / taken["plain"]
        name = "learner, discriminator steps"
        measured.append(Row(name, rate, "steps/s", plain, "plain automatic differentiation"))
    if torch.cuda.is_available():
        measured += device_bench.rows(config, slice_, torch.device("cuda"), seconds)
    return measured + [
        Row(f"learner, update: {phase}", phases[phase], "s", None, "") for phase in _PHASES
    ]


def network_flops(spec: EnvironmentSpec, hidden: int, outputs: int) -> int:
    """Floating-point operations per row of one gradient step of a policy or critic.

    Args:
        spec: sizes of the environment.
        hidden: H.
        outputs: A for a policy, 1 for a critic.
    """
    first = (spec.observation_size + spec.num_actions + spec.num_agents) * hidden
    others = hidden * hidden + 2 * 3 * hidden * hidden + hidden * outputs
    return 2 * (2 * first + 3 * others)


def discriminator_flops(num_rows: int, num_mixed: int, observation: int, hidden: int) -> int:
    """Floating-point operations of one gradient step of the discriminator.

    Rows of either side: W1 x, W2 h1, w3 h2, and their gradients. Mixed rows, whose W1 x is a
    mixture and no product: W2 h1, the slope (W2' u2, W1' u1), and back through all three.

    Args:
        num_rows: rows of both sides, n + m.
        num_mixed: q.
        observation: O.
        hidden: H.
    """
    of_row = 2 * observation * hidden + 3 * hidden * hidden + 3 * hidden
    of_mixed = 3 * observation * hidden + 6 * hidden * hidden
    return 2 * (num_rows * of_row + num_mixed * of_mixed)


def _ppo_steps(
    config: RunConfig, spec: EnvironmentSpec, learner: IndependentLearner, slice_: trajectory.Slice
) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    """One gradient step over the whole batch of either network, and its work."""
    batch = batches.prepare(slice_, 0, spec.num_agents, config.chunk_length, _CPU)
    walked = estimation.walk(learner.policy, learner.critic, batch)
    tasks, _ = learner._tasks(batch, batch.reward, walked)
    policy, critic = learner._ppo.policy, learner._ppo.critic
    policy.load(tasks.policy.tensors())
    critic.load(tasks.critic.tensors())
    alive = slice_.alive[trajectory.action_rows(slice_.length)] != 0
    lived = episodes.rows_until_last_alive(slice_.length, alive).shape[0]
    hidden = config.network.hidden_size
    steps: dict[str, Callable[[], object]] = {
        "policy epoch": policy.take,
        "critic epoch": critic.take,
    }
    return steps, {
        "policy epoch": float(lived * network_flops(spec, hidden, spec.num_actions)),
        "critic epoch": float(alive.shape[0] * network_flops(spec, hidden, 1)),
    }


def _discriminator_step(
    config: RunConfig, imitation: Imitation, slice_: trajectory.Slice
) -> tuple[Callable[[], object], float]:
    """Our step, drawing and optimiser included, on draws that take turns; and its mean work."""
    draws = _draws(imitation, slice_)
    agent, generator = alive_rows(slice_, _CPU), np.random.default_rng(1)

    def step() -> object:
        drawn = imitation.draws(agent, generator, 1)
        return [imitation.step(imitation.on_cpu(agent, rows)) for rows in drawn]

    sizes = [(d.expert_row.shape[0] + d.agent_row.shape[0], d.alpha.shape[0]) for d in draws]
    observation, hidden = slice_.observation.shape[1], config.imitation.hidden_size
    flops = [discriminator_flops(*size, observation, hidden) for size in sizes]
    return step, float(np.mean(flops))


def _draws(imitation: Imitation, slice_: trajectory.Slice) -> list[Draw]:
    agent, generator = alive_rows(slice_, _CPU), np.random.default_rng(1)
    return [imitation.on_cpu(agent, d) for d in imitation.draws(agent, generator, _DRAWS)]


def _plain_step(
    config: RunConfig, imitation: Imitation, slice_: trajectory.Slice
) -> Callable[[], object]:
    """What a user would write: a module, automatic differentiation twice, the framework's Adam."""
    settings, agent = config.imitation, alive_rows(slice_, _CPU)
    generator = np.random.default_rng(1)
    size, hidden = slice_.observation.shape[1], settings.hidden_size
    network = networks.make_discriminator(size, hidden, seed=0, agent=0)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)

    def step() -> object:
        (drawn,) = imitation.draws(agent, generator, 1)
        draw = imitation.on_cpu(agent, drawn)
        q = draw.alpha.shape[0]
        expert, ours = draw.expert[draw.expert_row], draw.agent[draw.agent_row]
        mixed = gail.interpolate(expert[:q], ours[:q], draw.alpha).requires_grad_()
        (slope,) = torch.autograd.grad(network(mixed).sum(), mixed, create_graph=True)
        loss = gail.classification_loss(network(expert), network(ours))
        loss = loss + settings.gradient_penalty * gail.gradient_penalty(slope)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return optimiser.step()

    return step


def _product() -> Callable[[], object]:
    left, right = torch.ones(2, _PRODUCT_SIZE, _PRODUCT_SIZE)
    out = torch.empty(_PRODUCT_SIZE, _PRODUCT_SIZE)
    return lambda: torch.mm(left, right, out=out)


def _in_turns(steps: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median over the turns of the processor seconds of each step."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    started, turns = time.thread_time(), 0
    while time.thread_time() - started < seconds or turns < _MINIMUM_TURNS:
        turns += 1
        for name, step in steps.items():
            taken[name].append(_mean_time(step))
    return {name: float(np.median(times)) for name, times in taken.items()}


def _mean_time(step: Callable[[], object]) -> float:
    """Processor seconds of a step in a row of them, as a learner takes them."""
    step()
    started, number = time.thread_time(), 0
    while (elapsed := time.thread_time() - started) < _SECONDS_IN_A_ROW:
        step()
        number += 1
    return elapsed / number
