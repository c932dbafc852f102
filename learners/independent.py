"""One agent's learner: PPO or IMPALA on its own networks, with its own discriminator in DM2.

Nothing is shared with other agents: no parameter, no gradient, no critic (DM2, Algorithm 1). An
update is a deterministic function of (state, batch, iteration): no random state outlives it. Fed by
`learners.intake`, driven by `learners.loop`; its snapshot goes to `learners.publisher`.
"""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from dm2_dist import networks, seeding, snapshot, trajectory
from dm2_dist.config import RunConfig
from dm2_dist.envs.interface import EnvironmentSpec
from dm2_dist.functional import gail, ppo, value_norm
from learners import batch as batches
from learners import estimation, finiteness, impala, ppo_steps
from learners import state as states
from learners.imitation import Imitation
from learners.optimiser import Networks, Optimiser


def _unheard(_: str) -> None:
    """Nobody wants to know which phase begins."""


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
        trained = Networks(self.policy, self._policy_optimiser, self.critic, self._critic_optimiser)
        pads = device.type != "cpu"
        self._impala = impala.Steps(trained, config.impala, pads)
        self._ppo = ppo_steps.Steps(trained, config.ppo, pads)
        self._statistics = value_norm.initial(device)
        self.skips = finiteness.Skips(agent)
        self.imitation: Imitation | None = None
        if config.uses_demonstrations:
            if demonstrations is None:
                raise ValueError(f"agent {agent} has no demonstrations; algorithm dm2 needs them")
            self.imitation = Imitation(config.imitation, config.seed, agent, device, demonstrations)

    def update(
        self, slice_: trajectory.Slice, iteration: int, enter: Callable[[str], None] = _unheard
    ) -> dict[str, float]:
        """One iteration on a whole batch.

        Args:
            slice_: this agent's episodes, in ticket order.
            iteration: i; keys every draw.
            enter: told each phase as it begins: `prepare`, `discriminator` or `ppo`.

        Returns:
            Metrics: means over the gradient steps of the iteration, and `skipped_steps`; a mean
            that is not finite is left out.

        Raises:
            NonFiniteError: too many gradient steps in a row were skipped because the loss or the
                gradient was not finite, or a network has overflowed.
        """
        enter("prepare")
        batch = batches.prepare(
            slice_, self._agent, self._spec.num_agents, self._config.chunk_length, self._device
        )
        reward, metrics = self._imitate(batch, slice_, iteration, enter)
        walked = estimation.walk(self.policy, self.critic, batch)
        seed = seeding.derive(self._config.seed, "minibatches", self._agent, iteration)
        if self._config.algorithm == "impala":
            enter("ppo")
            self._statistics, more = self._impala.update(
                batch, reward, walked, self._statistics, seed
            )
        else:
            tasks, more = self._tasks(batch, reward, walked)
            enter("ppo")
            more |= self._ppo.epochs(tasks, seed)
        return self.skips.read(metrics | more, self._trained(), iteration)

    def snapshot(self) -> dict[str, trajectory.F32]:
        """What actors need, as float32 arrays: the policy, and the critic for unrolls."""
        policy = states.arrays(self.policy)
        if not self._config.plays_unrolls:
            return policy
        return snapshot.join(policy, states.arrays(self.critic))

    def state(self) -> dict[str, torch.Tensor]:
        """Everything needed to go on bit for bit, as flat named copies."""
        return {name: tensor.detach().clone() for name, tensor in self._tensors().items()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what `state` returned; a state from before steps were skipped has no counts.

        Raises:
            ValueError: the names are not those of this learner.
        """
        counts = {f"skips.{name}": torch.zeros_like(t) for name, t in self.skips.state().items()}
        states.copy_into(self._tensors(), counts | dict(state), self._agent)

    def parameters_sha256(self) -> str:
        """Hash of policy, critic and discriminator tensors: equal means equal bit for bit."""
        return states.sha256(self._parameters())

    def _imitate(
        self,
        batch: batches.Batch,
        slice_: trajectory.Slice,
        iteration: int,
        enter: Callable[[str], None],
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Train the discriminator, then fix the mixed reward, float32 [R], of this iteration."""
        if self.imitation is None:
            return batch.reward, {}
        enter("discriminator")
        metrics = self.imitation.update(slice_, iteration)
        ratio = self.imitation.living_time_log_ratio(slice_)
        logit = self.imitation.logit(batch.observation) + ratio
        metrics["living_time_log_ratio"] = torch.tensor(ratio, device=logit.device)
        metrics["imitation_reward_mean"] = ppo.masked_mean(logit, batch.alive)
        coefficient = self._config.imitation.reward_coefficient
        enter("prepare")
        return gail.mixed_reward(batch.reward, logit, batch.alive, coefficient), metrics

    @torch.no_grad()
    def _tasks(
        self, batch: batches.Batch, reward: torch.Tensor, walked: estimation.Walk
    ) -> tuple[ppo_steps.Tasks, dict[str, torch.Tensor]]:
        """Advantages and targets of PPO, laid out for its steps, once per iteration; metrics."""
        config = self._config.ppo
        estimate = estimation.for_ppo(batch, reward, walked, self._statistics, config)
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
        cores = walked.policy_core, walked.critic_core
        return ppo_steps.lay_out(batch, *cores, policy_targets, value_targets), metrics

    def _parameters(self) -> dict[str, torch.Tensor]:
        """Tensors of the networks by name."""
        named = {"policy": self.policy.state_dict(), "critic": self.critic.state_dict()}
        if self.imitation is not None:
            named["discriminator"] = self.imitation.discriminator.state_dict()
        return states.flat(named)

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
        return self._parameters() | states.flat(optimisers) | states.flat(others)
