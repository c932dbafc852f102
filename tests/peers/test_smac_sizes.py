"""What we say of SMAC's maps without starting anything, against what SMAC's class says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dm2_dist.envs import make
from dm2_dist.envs.skirmish import MAPS
from dm2_dist.envs.starcraft import importing

pytestmark = pytest.mark.peers

ASK = """
import json
from dm2_dist.envs.skirmish import MAPS
from dm2_dist.envs.starcraft import guard, importing
made = guard.guarded(importing.load())
print(json.dumps({name: made(map_name=name).get_env_info() for name in MAPS}))
"""


@pytest.fixture(scope="module")
def infos() -> dict[str, dict[str, int]]:
    place = os.environ.get("SMAC_PATH")
    if not place:
        pytest.skip("SMAC_PATH does not name a checkout of SMAC")
    assert importing.flavour(Path(place)) == "starcraft"
    done = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=100, check=True
    )
    found: dict[str, dict[str, int]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", MAPS)
def test_sizes_are_those_of_the_class(name: str, infos: dict[str, dict[str, int]]) -> None:
    spec, info = make.describe("smac", name), infos[name]
    assert (spec.num_agents, spec.num_actions) == (info["n_agents"], info["n_actions"])
    assert (spec.observation_size, spec.state_size) == (info["obs_shape"], info["state_shape"])
    assert spec.episode_limit == info["episode_limit"]
