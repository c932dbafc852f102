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
    size = _largest(config, spec, episodes)
    if size <= BODY_LIMIT:
        return
    unrolls = config.plays_unrolls
    keys = "collection.episodes_per_ticket" + (" or asynchrony.unroll_length" if unrolls else "")
    raise ConfigError(
        f"{episodes} {'unrolls' if unrolls else 'episodes'} of "
        f"{expectation.unroll_length or spec.episode_limit} steps make a trajectory of "
        f"{size / 2**20:.1f} MiB, and {BODY_LIMIT // 2**20} MiB can be sent; lower {keys}"
    )


def largest_ticket(config: RunConfig, spec: EnvironmentSpec, most: int) -> int:
    """Episodes or unrolls of a ticket that can be sent: `most`, or half of it, or a quarter...

    Args:
        config: the run.
        spec: sizes of its environment.
        most: not more than these; a power of two.
    """
    episodes = most
    while episodes > 1 and _largest(config, spec, episodes) > BODY_LIMIT:
        episodes //= 2
    return episodes


def _largest(config: RunConfig, spec: EnvironmentSpec, episodes: int) -> int:
    """Bytes of the largest trajectory of so many episodes or unrolls."""
    expectation = expectation_of(config, spec, 0)
    length = expectation.unroll_length or spec.episode_limit
    return slice_body.size_of(episodes * length, episodes, expectation)
