"""A report as the head makes it, in the middle of a run of two agents."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

_REPORT: dict[str, Any] = {
    "run_id": "r1",
    "run_directory": "runs/r1",
    "map": "3m",
    "algorithm": "dm2",
    "schedule": "pipelined",
    "preset": "quickstart",
    "seed": 7,
    "state": "training",
    "phase": "run",
    "wall_seconds": 75.0,
    "env_steps": 250_000,
    "max_env_steps": 1_000_000,
    "env_steps_per_second": 3333.3,
    "seconds_left": 225.0,
    "iterations": 12,
    "lag": 1,
    "win_rate": 0.5,
    "win_rate_best": 0.75,
    "return_mean": 12.5,
    "evaluations": [
        {
            "env_steps": 50_000,
            "wall_seconds": 15.0,
            "win_rate": 0.75,
            "return_mean": 15.0,
            "episodes": 32,
        },
        {
            "env_steps": 100_000,
            "wall_seconds": 30.0,
            "win_rate": 0.5,
            "return_mean": 12.5,
            "episodes": 32,
        },
    ],
    "actors": {
        "alive": 32,
        "playing": 20,
        "waiting": 12,
        "restarts": 0,
        "phases": {
            "wait_ticket": 50.0,
            "wait_parameters": 10.0,
            "play": 38.0,
            "send": 1.0,
            "settle": 1.0,
        },
    },
    "learners": [
        {
            "agent": agent,
            "alive": True,
            "version": 12,
            "metrics": {
                "policy_loss": -0.0125,
                "entropy": 1.25,
                "approx_kl": 0.0042,
                "discriminator_accuracy": 0.71,
            },
            "phases": {
                "wait_data": 3.0,
                "prepare": 2.0,
                "discriminator": 30.0,
                "ppo": 60.0,
                "checkpoint": 4.0,
                "publish": 1.0,
            },
        }
        for agent in range(2)
    ],
    "ledger": {
        "produced": 1000,
        "trained": 900,
        "dropped": {},
        "lost": {},
        "in_flight": 100,
        "in_doubt": 0,
        "error": 0,
    },
    "restarts": {"actor": 0, "learner": 0, "head": 0},
    "silent": {},
    "demonstrators": None,
    "events": [],
}


@pytest.fixture
def make_report() -> Callable[..., dict[str, Any]]:
    """A fresh report; keyword arguments replace top-level entries."""

    def make(**changes: Any) -> dict[str, Any]:
        return {**copy.deepcopy(_REPORT), **changes}

    return make
