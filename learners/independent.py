"""One agent's learner: PPO or IMPALA on its own networks, with its own discriminator in DM2.

Nothing is shared with other agents: no parameter, no gradient, no critic (DM2, Algorithm 1). An
update is a deterministic function of (state, batch, iteration): no random state outlives it. Fed by
`learners.intake`, driven by `learners.loop`; its snapshot goes to `learners.publisher`.
"""

import hashlib
import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from dm2_dist import networks, seeding, snapshot, trajectory
from dm2_dist.config import RunConfig
from dm2_dist.envs.interface import EnvironmentSpec
from dm2_dist.functional import categorical, gail, ppo, value_norm
from learners import batch as batches
from learners import estimation, finiteness, impala
from learners.imitation import Imitation
from learners.optimiser import Optimiser


class _Tasks(NamedTuple):
    """One iteration of PPO, with the metrics of its preparation, float32 [] each."""

    policy: batches.Task[ppo.PolicyTargets]
    critic: batches.Task[ppo.ValueTargets]
    metrics: dict[str, torch.Tensor]


class IndependentLearner:
    """Policy, critic and discriminator of one agent, with their optimisers."""

    def __init__(
        self,
        config: RunConfig,
        spec: EnvironmentSpec,
        agent: int,
        device: torch.device,
        demonstrations: trajectory.Slice | None,
    ) -> None:
        """Initialise from the run's seed.

        Args:
            config: the run.
            spec: sizes of the environment.
            agent: k.
            device: where the arithmetic happens.
            demonstrations: what this agent's demonstrator saw; needed by dm2.

        Raises:
            ValueError: demonstrations are missing or too few.
        """
        self._config, self._spec, self._agent, self._device = config, spec, agent, device
        input_size = spec.observation_size + spec.num_actions + spec.num_agents
        seed, network = config.seed, config.network
        self.policy = networks.make_policy(input_size, spec.num_actions, network, seed, agent).to(
            device
        )
        self.critic = networks.make_critic(input_size, network, seed, agent).to(device)
        method = config.impala if config.algorithm == "impala" else config.ppo
        rate, epsilon = method.learning_rate, method.adam_epsilon
        norm = method.max_gradient_norm
        self._policy_optimiser = Optimiser(self.policy, rate, epsilon, norm)
        self._critic_optimiser = Optimiser(self.critic, rate, epsilon, norm)
        self._statistics = value_norm.initial(device)
        self.skips = finiteness.Skips(agent)
        self.imitation: Imitation | None = None
        if config.uses_demonstrations:
            if demonstrations is None:
                raise ValueError(f"agent {agent} has no demonstrations; algorithm dm2 needs them")
            self.imitation = Imitation(config.imitation, config.seed, agent, device, demonstrations)

    def update(self, slice_: trajectory.Slice, iteration: int) -> dict[str, float]:
        """One iteration on a whole batch.

        Args:
            slice_: this agent's episodes, in ticket order.
            iteration: i; keys every draw.

        Returns:
            Metrics: means over the gradient steps of the iteration, `skipped_steps`, and the
            seconds of its phases; a mean that is not finite is left out.

        Raises:
            NonFiniteError: too many gradient steps in a row were skipped because the loss or the
                gradient was not finite, or a network has overflowed.
        """
        clock = [time.monotonic()]
        batch = batches.prepare(
            slice_, self._agent, self._spec.num_agents, self._config.chunk_length, self._device
        )
        clock.append(time.monotonic())
        reward, metrics = self._imitate(batch, slice_, iteration)
        clock.append(time.monotonic())
        walked = estimation.walk(self.policy, self.critic, batch)
        if self._config.algorithm == "impala":
            clock.append(time.monotonic())
            metrics |= self._one_pass(batch, reward, walked, iteration)
        else:
            tasks = self._tasks(batch, reward, walked)
            clock.append(time.monotonic())
            metrics |= tasks.metrics | self._epochs(batch, tasks, iteration)
        values = self.skips.read(metrics, self._trained(), iteration)
        clock.append(time.monotonic())
        prepare, imitate, estimate, epochs = np.diff(clock).tolist()
        return values | {
            "seconds_prepare": prepare + estimate,
            "seconds_discriminator": imitate,
            "seconds_ppo": epochs,
        }

    def snapshot(self) -> dict[str, trajectory.F32]:
        """What actors need, as float32 arrays: the policy, and the critic for unrolls."""
        policy = _arrays(self.policy)
        if not self._config.plays_unrolls:
            return policy
        return snapshot.join(policy, _arrays(self.critic))

    def state(self) -> dict[str, torch.Tensor]:
        """Everything needed to go on bit for bit, as flat named copies."""
        return {name: tensor.detach().clone() for name, tensor in self._tensors().items()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `state` returned; a state from before steps were skipped has no counts.

        Raises:
            ValueError: the names are not those of this learner.
        """
        counts = {f"skips.{name}": torch.zeros_like(t) for name, t in self.skips.state().items()}
        _copy_into(self._tensors(), counts | dict(state), self._agent)

    def parameters_sha256(self) -> str:
        """Hash of policy, critic and discriminator tensors: equal means equal bit for bit."""
        return _sha256(self._parameters())

    def _imitate(
        self, batch: batches.Batch, slice_: trajectory.Slice, iteration: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Train the discriminator, then fix the mixed reward, float32 [R], of this iteration."""
        if self.imitation is None:
            return batch.reward, {}
        metrics = self.imitation.update(slice_, iteration)
        ratio = self.imitation.living_time_log_ratio(slice_)
        logit = self.imitation.logit(batch.observation) + ratio
        metrics["living_time_log_ratio"] = torch.tensor(ratio)
        metrics["imitation_reward_mean"] = ppo.masked_mean(logit, batch.alive)
        coefficient = self._config.imitation.reward_coefficient
        return gail.mixed_reward(batch.reward, logit, batch.alive, coefficient), metrics

    @torch.no_grad()
    def _tasks(self, batch: batches.Batch, reward: torch.Tensor, walked: estimation.Walk) -> _Tasks:
        """Advantages and targets of PPO, laid out for its steps, once per iteration."""
        config = self._config.ppo
        estimate = estimation.for_ppo(
            batch, reward, walked, self._statistics, config, self._config.lag_correction
        )
        cap = config.max_behaviour_ratio
        metrics = estimation.metrics(batch, walked, estimate, self._statistics, cap)
        self._statistics = estimation.units(self._statistics, estimate)
        advantage = ppo.normalise_advantage(estimate.advantage, batch.alive)
        target = value_norm.normalise(self._statistics, estimate.target)
        policy, critic, row = batch.policy, batch.critic, batch.rows.observation_row
        acted, valued = policy.action_row, critic.action_row
        policy_targets = ppo.PolicyTargets(
            walked.log_prob[acted], estimate.ratio[acted], advantage[acted], policy.weight
        )
        value_targets = ppo.ValueTargets(walked.value[row][valued], target[valued], critic.weight)
        return _Tasks(
            batches.Task(policy, policy.entering(walked.policy_core), policy_targets),
            batches.Task(critic, critic.entering(walked.critic_core), value_targets),
            metrics,
        )

    def _one_pass(
        self, batch: batches.Batch, reward: torch.Tensor, walked: estimation.Walk, iteration: int
    ) -> dict[str, torch.Tensor]:
        """All of IMPALA's iteration; metrics are means over its gradient steps."""
        trained = impala.Networks(
            self.policy, self._policy_optimiser, self.critic, self._critic_optimiser
        )
        seed = seeding.derive(self._config.seed, "minibatches", self._agent, iteration)
        self._statistics, metrics = impala.update(
            trained, batch, reward, walked, self._statistics, self._config.impala, seed
        )
        return metrics

    def _epochs(
        self, batch: batches.Batch, tasks: _Tasks, iteration: int
    ) -> dict[str, torch.Tensor]:
        """All gradient steps of PPO; metrics are means over them."""
        number = self._config.ppo.minibatches
        seed = seeding.derive(self._config.seed, "minibatches", self._agent, iteration)
        generator = torch.Generator().manual_seed(seed >> 1)
        steps = []
        for _ in range(self._config.ppo.epochs):
            for acting in tasks.policy.minibatches(number, generator):
                steps.append(self._policy_step(batch, acting))
            for valuing in tasks.critic.minibatches(number, generator):
                steps.append(self._critic_step(valuing))
        return finiteness.means(steps)

    def _policy_step(
        self, batch: batches.Batch, task: batches.Task[ppo.PolicyTargets]
    ) -> dict[str, torch.Tensor]:
        config, unroll = self._config.ppo, task.unroll
        choices = categorical.Choices(batch.unavailable, batch.action, unroll.action_row)
        logits = self.policy.unroll(unroll.inputs, unroll.keep, task.core_state)
        loss, gradient = ppo.policy_gradient(
            logits, choices, task.targets, config.clip, config.entropy_coefficient
        )
        step = self._policy_optimiser.descend(logits, gradient, loss.total)
        return {
            "policy_loss": loss.surrogate,
            "entropy": loss.entropy,
            "approx_kl": loss.approx_kl,
            "clip_fraction": loss.clip_fraction,
            "policy_gradient_norm": step.norm,
            "policy_skipped": step.skipped,
        }

    def _critic_step(self, task: batches.Task[ppo.ValueTargets]) -> dict[str, torch.Tensor]:
        config, unroll = self._config.ppo, task.unroll
        value = self.critic.unroll(unroll.inputs, unroll.keep, task.core_state).squeeze(-1)
        loss, gradient = ppo.value_gradient(value, task.targets, config.clip, config.huber_delta)
        scale = config.value_coefficient
        step = self._critic_optimiser.descend(value, scale * gradient, scale * loss)
        return {
            "value_loss": loss,
            "critic_gradient_norm": step.norm,
            "critic_skipped": step.skipped,
        }

    def _parameters(self) -> dict[str, torch.Tensor]:
        """Tensors of the networks by name."""
        named = {"policy": self.policy.state_dict(), "critic": self.critic.state_dict()}
        if self.imitation is not None:
            named["discriminator"] = self.imitation.discriminator.state_dict()
        return _flat(named)

    def _trained(self) -> dict[str, list[torch.Tensor]]:
        """Parameters and moments of each network, not copied."""
        pairs: dict[str, tuple[nn.Module, Optimiser]] = {
            "policy": (self.policy, self._policy_optimiser),
            "critic": (self.critic, self._critic_optimiser),
        }
        if self.imitation is not None:
            pairs["discriminator"] = (self.imitation.discriminator, self.imitation.optimiser)
        return {
            name: [*network.state_dict().values(), *optimiser.state().values()]
            for name, (network, optimiser) in pairs.items()
        }

    def _tensors(self) -> dict[str, torch.Tensor]:
        """All tensors of the state by name, not copied."""
        optimisers = {
            "policy_optimiser": self._policy_optimiser.state(),
            "critic_optimiser": self._critic_optimiser.state(),
        }
        if self.imitation is not None:
            optimisers["discriminator_optimiser"] = self.imitation.optimiser.state()
        others = {"value_statistics": self._statistics._asdict(), "skips": self.skips.state()}
        return self._parameters() | _flat(optimisers) | _flat(others)


def _arrays(network: nn.Module) -> dict[str, trajectory.F32]:
    return {name: t.detach().cpu().numpy().copy() for name, t in network.state_dict().items()}


def _copy_into(
    tensors: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], agent: int
) -> None:
    """Overwrite `tensors` with `state`, which must have the same names."""
    different = sorted(set(state) ^ set(tensors))
    if different:
        raise ValueError(f"agent {agent}: the state does not fit, see {different[0]}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(state[name])


def _sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Hash names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _flat(named: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {f"{group}.{name}": t for group, tensors in named.items() for name, t in tensors.items()}
