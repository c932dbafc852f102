"""Whether the largest trajectory of a run fits into one message. Asked before anything starts."""

from dm2_dist.comms import slice_body
from dm2_dist.comms.codec import BODY_LIMIT
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.envs.interface import EnvironmentSpec
from learners.expectation import expectation_of


def check(config: RunConfig, spec: EnvironmentSpec) -> None:
    """Refuse tickets whose trajectories could not be sent.

    Args:
        config: the run.
        spec: sizes of its environment.

    Raises:
        ConfigError: one could be too large; names the keys.
    """
    expectation = expectation_of(config, spec, 0)
    episodes = expectation.num_episodes
    length = expectation.unroll_length or spec.episode_limit
    size = slice_body.size_of(episodes * length, episodes, expectation)
    if size <= BODY_LIMIT:
        return
    unrolls = config.plays_unrolls
    keys = "collection.episodes_per_ticket" + (" or asynchrony.unroll_length" if unrolls else "")
    raise ConfigError(
        f"{episodes} {'unrolls' if unrolls else 'episodes'} of {length} steps make a trajectory of "
        f"{size / 2**20:.1f} MiB, and {BODY_LIMIT // 2**20} MiB can be sent; lower {keys}"
    )
