"""Ways to play a batch of battles, shared by the tests of the environments."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dm2_dist.envs.skirmish import SkirmishBatch
from dm2_dist.envs.skirmish.options import Options

Actions = npt.NDArray[np.int64]
Policy = Callable[[SkirmishBatch], Actions]
Units = Iterable[tuple[str, float, float]]


@pytest.fixture(scope="session")
def random_play() -> Callable[[int], Policy]:
    """Make a policy that draws uniformly among the available actions, from a seed."""

    def make(seed: int) -> Policy:
        generator = np.random.default_rng(seed)

        def act(batch: SkirmishBatch) -> Actions:
            listed = batch.available_actions
            return np.where(listed > 0, generator.random(listed.shape), -1.0).argmax(axis=2)

        return act

    return make


@pytest.fixture(scope="session")
def stop_play() -> Policy:
    """Living agents stop, dead ones do nothing."""
    return lambda batch: batch.alive.astype(np.int64)


@pytest.fixture(scope="session")
def play_out() -> Callable[[SkirmishBatch, Policy], npt.NDArray[np.float64]]:
    """Play every battle of a batch to its end; returns float64 [B] returns."""

    def run(batch: SkirmishBatch, policy: Policy) -> npt.NDArray[np.float64]:
        returns = np.zeros(batch.num_envs)
        for _ in range(batch.episode_limit):
            batch.step(policy(batch))
            returns += batch.exact_reward
        assert batch.finished.all()
        return returns

    return run


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., SkirmishBatch]:
    """Set up one battle between units at given places, seen loop by loop.

    The other side stands still and does nothing (a policy plays it) unless it is given an order.
    Orders may be given at any distance.
    """

    def make(
        allies: Units,
        enemies: Units,
        *,
        order: str | None = None,
        to: Iterable[tuple[float, float]] = (),
        ground: str = "open",
        loops: int = 1,
        seed: int = 0,
    ) -> SkirmishBatch:
        content: dict[str, Any] = {
            "name": "stage",
            "episode_limit": 10_000,
            "terrain": ground,
            "order": {"kind": order or "hold", "points": [list(point) for point in to]},
        }
        for side, units in (("allies", allies), ("enemies", enemies)):
            content[side] = [{"unit": unit, "count": 1, "point": [x, y]} for unit, x, y in units]
        path = tmp_path / "stage.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        batch = SkirmishBatch(
            str(path),
            1,
            options=Options(step_mul=loops, attack_any_distance=True),
            opponents="computer" if order else "policy",
        )
        batch.reset(np.array([seed], np.uint64))
        return batch

    return make


@pytest.fixture(scope="session")
def slay() -> Callable[..., None]:
    """Leave units without health, as a hit would: they die in the next loop."""

    def kill(batch: SkirmishBatch, env: int, units: int | slice | npt.NDArray[np.bool_]) -> None:
        batch.unit_health[env, units] = 0

    return kill


@pytest.fixture(scope="session")
def drill() -> Callable[..., None]:
    """Give the units of one battle their orders and play one step; the dead get none."""

    def play(batch: SkirmishBatch, *own: int, theirs: Iterable[int] = ()) -> None:
        actions = np.array([own or (1,) * batch.num_agents], np.int64)
        if batch.opponents is None:
            batch.step(np.where(batch.alive == 1, actions, 0))
            return
        opposing = np.array([tuple(theirs) or (1,) * batch.num_enemies], np.int64)
        batch.step(
            np.where(batch.alive == 1, actions, 0),
            np.where(batch.opponents.alive == 1, opposing, 0),
        )

    return play
