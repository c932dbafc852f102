"""What tests of several folders share."""

import pytest


@pytest.fixture(scope="session")
def compiled_simulator() -> None:
    """The machine code behind the stand-in for StarCraft II, which games would wait for."""
    from dm2_dist.envs.skirmish.raw_battle import compile_kernels

    compile_kernels()
