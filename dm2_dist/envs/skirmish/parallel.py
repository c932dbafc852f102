"""A battle as a PettingZoo environment: the function that makes one.

Needs PettingZoo and Gymnasium (the extra `pettingzoo`), imported when an environment is made. The
environment itself is in `parallel_battle`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Unpack

from dm2_dist.envs.skirmish import flag
from dm2_dist.envs.skirmish.batch import SkirmishBatch
from dm2_dist.envs.skirmish.opponents import OpponentReward

if TYPE_CHECKING:
    from dm2_dist.envs.skirmish.parallel_battle import ParallelBattle, RenderMode

_ELSEWHERE = {
    "continuing_episode",
    "debug",
    "heuristic_ai",
    "heuristic_rest",
    "replay_dir",
    "replay_prefix",
}
"""Flags of `SkirmishEnv` that mean nothing here."""


def parallel_env(
    map_name: str = "3m",
    *,
    opponents: Literal["computer", "policy"] = "computer",
    render_mode: RenderMode | None = None,
    seed: int | None = None,
    opponent_reward: OpponentReward = "own",
    max_cycles: int | None = None,
    dead_agents: Literal["stay", "leave"] = "stay",
    **flags: Unpack[flag.Flags],
) -> ParallelBattle:
    """Make a PettingZoo parallel environment of one battle.

    Args:
        map_name: name of the map, or path of a scenario (.toml or .json).
        opponents: who plays the enemies. With `computer` the agents are the team, `ally_0`,
            `ally_1`, ...; with `policy` the enemies are agents too, `enemy_0`, `enemy_1`, ...
        render_mode: `rgb_array`: `render` returns a picture; `human`: every `reset` and `step` is
            shown in a window; None: nothing is drawn.
        seed: names the sequence of battles; None draws one.
        opponent_reward: what the enemies are rewarded for, where a policy plays them: `own`, for
            what SMAC would reward a team in their place for, or `zero_sum`, the team's reward,
            negated.
        max_cycles: environment steps after which an undecided battle is truncated, if the map's own
            time limit does not come first.
        dead_agents: `stay`: an agent that dies stays until the battle ends, can do nothing, and
            shares the reward of its team; `leave`: it is terminated at once.
        **flags: feature and reward flags of SMAC, `profile`, `step_mul`, `move_amount`, and the
            window's size; those about the game's process change nothing.

    Raises:
        ImportError: PettingZoo or Gymnasium is not installed.
        UnknownMapError: no such map.
        ScenarioError: the file does not describe a battle.
        TypeError: no such flag.
        ValueError: an argument or a flag makes no sense.
        RuntimeError: something is to be drawn, but there is no Pillow.
    """
    try:
        import gymnasium  # noqa: F401
        import pettingzoo  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(
            f"parallel_env needs {error.name}; install dm2-dist with the extra [pettingzoo]"
        ) from error
    from dm2_dist.envs.skirmish.parallel_battle import ParallelBattle

    _check(max_cycles, opponents, opponent_reward, flags)
    batch = SkirmishBatch(
        map_name,
        1,
        options=flag.options(flags),
        opponents=opponents,
        opponent_reward=opponent_reward,
        trace=render_mode is not None,
    )
    return ParallelBattle(
        batch,
        seed=seed,
        render_mode=render_mode,
        max_cycles=max_cycles,
        dead_agents=dead_agents,
        window_size=(flags.get("window_size_x", 1920), flags.get("window_size_y", 1200)),
    )


def _check(max_cycles: int | None, opponents: str, opponent_reward: str, flags: flag.Flags) -> None:
    """Refuse what the environment cannot do."""
    if max_cycles is not None and max_cycles < 1:
        raise ValueError(f"max_cycles must be at least 1 environment step, not {max_cycles}")
    if opponents == "computer" and opponent_reward == "zero_sum":
        raise ValueError(
            "opponent_reward='zero_sum' needs opponents='policy': the computer earns nothing"
        )
    known = [name for name in flag.Flags.__annotations__ if name not in _ELSEWHERE]
    unknown = sorted(set(flags) - set(known))
    if unknown:
        raise TypeError(f"parallel_env has no flag {', '.join(unknown)}; flags: {', '.join(known)}")
