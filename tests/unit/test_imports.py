"""What a process imports decides how fast it starts and how much memory 32 of it take."""

import json
import subprocess
import sys

import pytest

import dm2_dist


def modules_after(statement):
    """Top-level modules that a fresh interpreter holds after a statement."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{statement}\nimport sys, json\n"
            "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.integration
def test_actors_import_no_torch():
    modules = modules_after("import actors.main")
    assert "torch" not in modules
    assert {"zmq", "numpy"} <= modules


@pytest.mark.integration
def test_the_head_imports_no_torch():
    modules = modules_after("import launch.head_main")
    assert "torch" not in modules
    assert "zmq" in modules


@pytest.mark.parametrize("module", ["launch.cli", "learners.process", "dm2_dist.presets"])
def test_what_only_names_the_work_imports_nothing_heavy(module):
    assert not modules_after(f"import {module}") & {"torch", "numba", "zmq"}


def test_importing_the_library_starts_nothing_and_loads_nothing():
    assert not modules_after("import dm2_dist") & {"torch", "numba", "zmq", "numpy"}
    assert dm2_dist.__version__
