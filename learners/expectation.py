"""What a trajectory must look like, by its ticket. Used by `learners.intake`."""

from dm2_dist.comms.inspection import Expectation
from dm2_dist.config import RunConfig
from dm2_dist.envs.interface import EnvironmentSpec


def expectation_of(config: RunConfig, spec: EnvironmentSpec, index: int) -> Expectation:
    """Sizes of a training ticket's slice.

    Args:
        config: the run.
        spec: sizes of the environment.
        index: of the ticket in its iteration; the last one may be smaller.
    """
    collection = config.collection
    left = collection.episodes_per_iteration - index * collection.episodes_per_ticket
    return Expectation(
        observation_size=spec.observation_size,
        num_actions=spec.num_actions,
        episode_limit=spec.episode_limit,
        num_episodes=min(collection.episodes_per_ticket, left),
        unroll_length=config.asynchrony.unroll_length if config.plays_unrolls else 0,
        hidden_size=config.network.hidden_size if config.plays_unrolls else 0,
    )
