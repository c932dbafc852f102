"""Training of one agent's discriminator: what its demonstrator saw against what it sees itself.

Each gradient step draws distinct episodes of either side and uses only rows at which the agent
lives, so the discriminator compares observations and not the share of dead time. Every draw is
keyed by (run, agent, iteration). Used by `learners.independent`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from dm2_dist import networks, seeding, trajectory
from dm2_dist.functional import discriminator_gradient, gail
from dm2_dist.functional.discriminator_gradient import DiscriminatorParameters, Draw
from dm2_dist.sections import ImitationConfig
from learners import finiteness
from learners.optimiser import Optimiser
from learners.padded_imitation import HostDraw, PaddedSteps

_ADAM_EPSILON = 1e-8
_METRICS = {
    "total": "discriminator_loss",
    "penalty": "gradient_penalty",
    "accuracy": "discriminator_accuracy",
    "logit_expert_mean": "logit_expert_mean",
    "logit_agent_mean": "logit_agent_mean",
}
_PARAMETERS = {
    "weight_1": "hidden_1.weight",
    "bias_1": "hidden_1.bias",
    "weight_2": "hidden_2.weight",
    "bias_2": "hidden_2.bias",
    "weight_3": "head.weight",
    "bias_3": "head.bias",
}


class AliveRows(NamedTuple):
    """Observations at which the agent lived and acted, episode after episode.

    observation: float32 [M, O]
    start: int64 [E] first row of each episode.
    num_rows: int64 [E] rows of each episode.
    """

    observation: torch.Tensor
    start: npt.NDArray[np.int64]
    num_rows: npt.NDArray[np.int64]

    def draw(self, episodes: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """All rows of distinct episodes in random order, int64 [n].

        Args:
            episodes: how many episodes.
            generator: source of the draw.

        Raises:
            ValueError: there are not that many.
        """
        if episodes > self.start.shape[0]:
            stored = self.start.shape[0]
            raise ValueError(f"{episodes} distinct episodes asked for, {stored} stored")
        lived = np.flatnonzero(self.num_rows)
        chosen = lived[generator.permutation(lived.shape[0])[:episodes]]
        num_rows = self.num_rows[chosen]
        offset = self.start[chosen] - (np.cumsum(num_rows) - num_rows)
        rows = np.arange(int(num_rows.sum())) + np.repeat(offset, num_rows)
        return generator.permutation(rows)


def alive_rows(slice_: trajectory.Slice, device: torch.device) -> AliveRows:
    """Pick the living action rows of one agent's episodes.

    Args:
        slice_: whole episodes.
        device: where the observations go.
    """
    row = trajectory.action_rows(slice_.length)
    alive = slice_.alive[row] != 0
    episode = np.repeat(np.arange(slice_.num_episodes), slice_.length)
    num_rows = np.bincount(episode[alive], minlength=slice_.num_episodes)
    observation = torch.from_numpy(slice_.observation[row[alive]]).to(device)
    return AliveRows(observation, np.cumsum(num_rows) - num_rows, num_rows)


class Imitation:
    """A discriminator, its optimiser and the demonstrations it learns from."""

    def __init__(
        self,
        config: ImitationConfig,
        seed: int,
        agent: int,
        device: torch.device,
        demonstrations: trajectory.Slice,
    ) -> None:
        """Initialise from the run's seed.

        Args:
            config: how to train.
            seed: of the run.
            agent: k.
            device: where the arithmetic happens.
            demonstrations: what this agent's demonstrator saw.

        Raises:
            ValueError: there are fewer demonstrations than one step draws.
        """
        if demonstrations.num_episodes < config.episodes_per_step:
            raise ValueError(
                f"agent {agent} has {demonstrations.num_episodes} demonstrations, but "
                f"imitation.episodes_per_step is {config.episodes_per_step}"
            )
        self._config, self._seed, self._agent, self._device = config, seed, agent, device
        self._expert = alive_rows(demonstrations, device)
        self.discriminator = networks.make_discriminator(
            demonstrations.observation.shape[1], config.hidden_size, seed, agent
        ).to(device)
        self.optimiser = Optimiser(self.discriminator, config.learning_rate, _ADAM_EPSILON, None)
        self._padded: PaddedSteps | None = None
        if device.type != "cpu":
            self._padded = PaddedSteps(
                self._parameters(),
                tuple(_PARAMETERS.values()),
                self.optimiser,
                self._expert.observation,
                config.gradient_penalty,
            )

    def update(self, slice_: trajectory.Slice, iteration: int) -> dict[str, torch.Tensor]:
        """All discriminator steps of one iteration.

        Args:
            slice_: the agent's episodes of this iteration.
            iteration: i; keys the draws.

        Returns:
            Metrics, float32 [] each: means over the steps that were not skipped; and
            `discriminator_skipped`, float32 [steps], 1 where a step was.

        Raises:
            ValueError: the batch has fewer episodes than one step draws.
        """
        agent = alive_rows(slice_, self._device)
        if not agent.observation.shape[0]:  # pieces of battles in which it is dead
            return {}
        generator = np.random.default_rng(
            seeding.derive(self._seed, "discriminator", self._agent, iteration)
        )
        numbers = torch.stack(self._steps(agent, generator))
        flags = numbers[:, -1]
        fields = finiteness.mean(numbers[:, : len(gail.DiscriminatorLoss._fields)], flags)
        means = gail.DiscriminatorLoss(*fields.unbind(0))
        metrics = {metric: getattr(means, name) for name, metric in _METRICS.items()}
        return metrics | {"discriminator_skipped": flags}

    def step(self, draw: Draw) -> torch.Tensor:
        """One gradient step on the CPU.

        Returns:
            float32 [8]: the fields of `DiscriminatorLoss` before the step, the norm of the
            gradient, and 1 if the step was skipped.
        """
        loss, gradient = discriminator_gradient.loss_and_gradient(
            self._parameters(), draw, self._config.gradient_penalty
        )
        named = dict(zip(_PARAMETERS.values(), gradient, strict=True))
        return torch.stack([*loss, *self.optimiser.apply(named, loss.total)])

    def living_time_log_ratio(self, slice_: trajectory.Slice) -> float:
        """What is to be added to the logits of these episodes so that they compare visits.

        Args:
            slice_: the agent's episodes of this iteration.
        """
        if not self._config.match_living_time:
            return 0.0
        ours = alive_rows(slice_, self._device).num_rows
        if not ours.any() or not slice_.num_started:  # pieces that tell nothing of whole episodes
            return 0.0
        # Of pieces, as many begin as end in the long run; each beginning stands for an episode.
        agent_steps = ours.sum() / slice_.num_started
        expert_steps = self._expert.num_rows.mean()
        return gail.living_time_log_ratio(float(expert_steps), float(agent_steps))

    @torch.no_grad()
    def logit(self, observation: torch.Tensor) -> torch.Tensor:
        """The discriminator's logit, high for the expert, float32 [n], of observations [n, O]."""
        return discriminator_gradient.logit(self._parameters(), observation)

    def draws(
        self, agent: AliveRows, generator: np.random.Generator, number: int
    ) -> Iterator[HostDraw]:
        """Rows of both sides for each step, in random order, so that they pair at random.

        Args:
            agent: the agent's rows.
            generator: source of the draws.
            number: steps.
        """
        episodes = self._config.episodes_per_step
        for _ in range(number):
            ours, theirs = self._expert.draw(episodes, generator), agent.draw(episodes, generator)
            num_mixed = min(ours.shape[0], theirs.shape[0])
            yield HostDraw(ours, theirs, generator.random((num_mixed, 1), dtype=np.float32))

    def on_cpu(self, agent: AliveRows, drawn: HostDraw) -> Draw:
        """What `step` takes."""
        rows = (torch.from_numpy(array) for array in drawn)
        return Draw(self._expert.observation, agent.observation, *rows)

    def _steps(self, agent: AliveRows, generator: np.random.Generator) -> list[torch.Tensor]:
        """All steps of an iteration, see `step`."""
        draws = self.draws(agent, generator, self._config.steps)
        if self._padded is None:
            return [self.step(self.on_cpu(agent, drawn)) for drawn in draws]
        self._padded.load(agent.observation, list(draws))
        numbers = [self._padded.take() for _ in range(self._config.steps)]
        self._padded.unload()
        return numbers

    def _parameters(self) -> DiscriminatorParameters:
        named = dict(self.discriminator.named_parameters())
        return DiscriminatorParameters(**{ours: named[name] for ours, name in _PARAMETERS.items()})
