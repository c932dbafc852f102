"""What an untrained team sees and does: data of the real size for `dm2 bench`, made in seconds.

The arithmetic does not care how good the policies are. Used by the parts of `dm2 bench`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dm2_dist import demonstrations, trajectory
from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.trajectory import Slice

if TYPE_CHECKING:
    from dm2_dist.inference import StackedPolicy


def policies(config: RunConfig) -> "StackedPolicy":
    """The policies that a run with this configuration starts from."""
    import torch

    from dm2_dist.inference import StackedPolicy
    from learners.independent import IndependentLearner

    spec = make.describe(config.env, config.map)
    plain = replace(config, algorithm="ippo", demonstrations="")
    agents = range(spec.num_agents)
    learners = [IndependentLearner(plain, spec, k, torch.device("cpu"), None) for k in agents]
    return StackedPolicy([learner.snapshot() for learner in learners])


def one_iteration(config: RunConfig) -> list[Slice]:
    """What an untrained team sees in one iteration of whole episodes, one slice per agent."""
    from actors.actor import play

    spec, policy = make.describe(config.env, config.map), policies(config)
    played = []
    for ticket in tickets.train_tickets(config, 0, spec.num_agents):
        battles = make.make_batch(config.env, config.map, len(ticket.seeds))
        played.append(play(ticket, policy, battles, lambda: None))
    return [trajectory.concatenate([parts[k] for parts in played]) for k in range(spec.num_agents)]


def with_demonstrations(config: RunConfig, folder: Path) -> RunConfig:
    """For dm2: demonstrations by untrained policies, written to `folder`."""
    if not config.uses_demonstrations:
        return config
    target = folder / "demonstrations"
    count = config.imitation.demonstration_episodes
    collection = replace(config.collection, episodes_per_iteration=count)
    write(config, target, one_iteration(replace(config, collection=collection)))
    return replace(config, demonstrations=str(target))


def write(config: RunConfig, folder: Path, slices: Sequence[Slice]) -> None:
    """Write episodes of an untrained team in the format of demonstrations.

    Args:
        config: what they were played with.
        folder: new folder to write.
        slices: [K] one slice per agent.
    """
    spec, first = make.describe(config.env, config.map), slices[0]
    card = demonstrations.Card(
        env=config.env,
        map=config.map,
        num_agents=spec.num_agents,
        observation_size=spec.observation_size,
        num_actions=spec.num_actions,
        episodes=first.num_episodes,
        greedy=False,
        run="bench",
        policies=("untrained",) * spec.num_agents,
        seeds=(),
        returns=tuple(float(value) for value in first.returns()),
        lengths=tuple(int(value) for value in first.length),
        won=tuple(bool(value) for value in first.won),
    )
    demonstrations.write(folder, card, slices)
