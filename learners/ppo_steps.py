"""The gradient steps of PPO: some epochs over one batch, policy and critic in turns.

What an iteration holds constant is laid out in chunks once; every step reads tensors on the device
and nothing else, so that a device can record it. Works on the networks and optimisers that
`learners.independent` owns.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import torch

from dm2_dist.functional import ppo
from dm2_dist.sections import PPOConfig
from learners import batch as batches
from learners import finiteness
from learners.optimiser import Networks
from learners.recorded_step import RecordedStep

_POLICY = (
    "policy_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "policy_gradient_norm",
    "policy_skipped",
)
_CRITIC = ("value_loss", "critic_gradient_norm", "critic_skipped")


class Tasks(NamedTuple):
    """What the steps of one iteration read."""

    policy: batches.Task
    critic: batches.Task


def lay_out(
    batch: batches.Batch,
    policy_core: torch.Tensor,
    critic_core: torch.Tensor,
    policy: ppo.PolicyTargets,
    critic: ppo.ValueTargets,
) -> Tasks:
    """Lay the constants of an iteration out in chunks.

    Args:
        batch: one iteration.
        policy_core: float32 [N, H], as in `estimation.Walk`.
        critic_core: likewise.
        policy: float32 [L, C] each.
        critic: float32 [L, C] each, of the critic's chunks.
    """
    acting, valuing = batch.policy, batch.critic
    row = acting.action_row
    return Tasks(
        batches.Task(
            acting.entering(policy_core),
            (acting.inputs, acting.keep, batch.unavailable[row], batch.action[row], *policy),
        ),
        batches.Task(valuing.entering(critic_core), (valuing.inputs, valuing.keep, *critic)),
    )


class Steps:
    """Both kinds of steps, kept from iteration to iteration.

    policy, critic: one step of either; `load` takes the tensors of a `batches.Task`.
    """

    def __init__(self, trained: Networks, config: PPOConfig, pads: bool) -> None:
        """Take no step yet.

        Args:
            trained: networks and optimisers, changed in place.
            config: of PPO.
            pads: see `RecordedStep`.
        """
        self._trained, self._config = trained, config
        # A chunk of zeros has weight 0 and finite losses.
        self.policy = RecordedStep(
            self._policy_step, (0, *repeat(1, 8)), trained.policy_optimiser.changed(), pads
        )
        self.critic = RecordedStep(
            self._critic_step, (0, *repeat(1, 5)), trained.critic_optimiser.changed(), pads
        )

    def epochs(self, tasks: Tasks, seed: int) -> dict[str, torch.Tensor]:
        """All gradient steps of an iteration; metrics are means over them.

        Args:
            tasks: what they read.
            seed: keys how chunks are dealt to minibatches.
        """
        number, generator = self._config.minibatches, torch.Generator().manual_seed(seed >> 1)
        acting, valuing = _Turns(self.policy, tasks.policy), _Turns(self.critic, tasks.critic)
        # Dealt before the first step: a copy from the host makes it wait for the device.
        for _ in range(self._config.epochs):
            acting.deal(number, generator)
            valuing.deal(number, generator)
        steps: list[dict[str, torch.Tensor]] = []
        for epoch in range(self._config.epochs):
            steps += [_named(_POLICY, numbers) for numbers in acting.epoch(epoch)]
            steps += [_named(_CRITIC, numbers) for numbers in valuing.epoch(epoch)]
        self.policy.unload()
        self.critic.unload()
        return finiteness.means(steps)

    def _policy_step(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        core_state, inputs, keep, unavailable, action, *targets = tensors
        config, trained = self._config, self._trained
        logits = trained.policy.unroll(inputs, keep, core_state)
        loss, gradient = ppo.policy_gradient(
            logits,
            batches.choices(unavailable, action),
            ppo.PolicyTargets(*targets),
            config.clip,
            config.entropy_coefficient,
        )
        step = trained.policy_optimiser.descend(logits, gradient, loss.total)
        return torch.stack([*loss[1:], *step])

    def _critic_step(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        core_state, inputs, keep, *targets = tensors
        config, trained = self._config, self._trained
        value = trained.critic.unroll(inputs, keep, core_state).squeeze(-1)
        loss, gradient = ppo.value_gradient(
            value, ppo.ValueTargets(*targets), config.clip, config.huber_delta
        )
        scale = config.value_coefficient
        step = trained.critic_optimiser.descend(value, scale * gradient, scale * loss)
        return torch.stack([loss, *step])


class _Turns:
    """The steps of one network in an iteration, epoch by epoch."""

    def __init__(self, step: RecordedStep, task: batches.Task) -> None:
        self._step, self._task = step, task
        self._dealt: list[list[torch.Tensor]] = []

    def deal(self, number: int, generator: torch.Generator) -> None:
        """Deal the chunks to one more epoch's minibatches; a single one keeps their order."""
        if number > 1:
            self._dealt.append(self._task.deal(number, generator))

    def epoch(self, epoch: int) -> Iterator[torch.Tensor]:
        """Take all steps of an epoch; their numbers."""
        if not self._dealt:
            if not epoch:
                self._step.load(self._task.tensors())
            yield self._step.take()
            return
        for chosen in self._dealt[epoch]:
            self._step.load(self._task.chunks(chosen).tensors())
            yield self._step.take()


def _named(names: Sequence[str], numbers: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(names, numbers.unbind(), strict=True))
