"""Bringing in SMAC and PySC2. What changes a process is tried in a process of its own.

Where the environment variable SMAC_PATH names a clone of SMAC, it is imported too; elsewhere a
package with SMAC's files, and nothing in them, takes its place.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dm2_dist.envs.starcraft import importing
from dm2_dist.envs.starcraft.importing import StarcraftImportError

ROOT = Path(__file__).resolve().parents[4]
LOAD = "from dm2_dist.envs.starcraft import importing\n"


def plant(folder, files):
    """Write source files below a folder, each package with an `__init__.py`; gives the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for parent in path.relative_to(folder).parents[:-1]:
            if not (folder / parent / "__init__.py").exists():
                (folder / parent / "__init__.py").write_text("")
    return folder


@pytest.fixture
def smac(tmp_path):
    """A folder with a package of SMAC's shape."""
    return plant(
        tmp_path / "clone",
        {
            "smac/env/__init__.py": "class StarCraft2Env: pass\n",
            "smac/env/starcraft2/starcraft2.py": "",
        },
    )


def run(code, *options, **environ):
    """Run code in a fresh interpreter; gives what it printed last, as JSON."""
    kept = {name: value for name, value in os.environ.items() if name != "SMAC_PATH"}
    search = os.pathsep.join(filter(None, [environ.pop("PYTHONPATH", ""), str(ROOT)]))
    done = subprocess.run(
        [sys.executable, "-P", *options, "-c", LOAD + code],
        env={**kept, "PYTHONPATH": search, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


TRY = """
import json
try:
    importing.load()
    print(json.dumps("loaded"))
except importing.StarcraftImportError as error:
    print(json.dumps(str(error)))
"""


# --- which smac ---


def test_flavours_are_told_apart_by_their_files(tmp_path, smac):
    other = plant(tmp_path / "other", {"smac/facade/__init__.py": ""})
    assert importing.flavour(smac) == "starcraft"
    assert importing.flavour(other) == "smac3"
    assert importing.flavour(tmp_path) == "missing"


def test_the_named_folder_comes_before_the_path(tmp_path, smac):
    other = plant(tmp_path / "other", {"smac/facade/__init__.py": ""})
    assert importing.locate({"SMAC_PATH": str(smac)}, [str(other)]) == smac
    with pytest.raises(StarcraftImportError, match="SMAC3"):
        importing.locate({"SMAC_PATH": str(other)}, [str(smac)])


def test_the_first_smac_on_the_path_is_what_python_would_import(tmp_path, smac):
    other = plant(tmp_path / "other", {"smac/facade/__init__.py": ""})
    assert importing.locate({}, [str(tmp_path), str(smac), str(other)]) == smac
    with pytest.raises(StarcraftImportError, match="SMAC_PATH"):
        importing.locate({}, [str(other), str(smac)])


def test_a_missing_smac_is_told_with_the_mend(tmp_path):
    with pytest.raises(StarcraftImportError, match=r"clone https://github\.com/oxwhirl/smac"):
        importing.locate({}, [str(tmp_path)])
    with pytest.raises(StarcraftImportError, match="no package smac lies in it"):
        importing.locate({"SMAC_PATH": str(tmp_path)}, [])


# --- pysc2 ---


def test_loading_makes_one_module_of_two_names_and_touches_nothing_else(smac, tmp_path):
    """PySC2's fork would also read any file `.env` above itself."""
    (tmp_path / ".env").write_text("PLANTED=1\nTIMEOUT_SECONDS=1\n")
    found = run(
        """
import json, logging, os, random, sys
import dotenv
load = dotenv.load_dotenv
dotenv.load_dotenv = lambda: load(os.environ["FOUND"], override=True)
before = dict(os.environ)
sys.argv = ["dm2", "--actors", "32"]
env = importing.load(rpc_seconds=7)
import pysc2.lib.protocol, pysc2_evolved.lib.protocol
import pysc2_evolved.lib.features, pysc2.lib.features
from pysc2.lib import remote_controller
import inspect
print(json.dumps({
    "name": env.__name__,
    "same": pysc2.lib.protocol is pysc2_evolved.lib.protocol
            and pysc2.lib.features is pysc2_evolved.lib.features
            and pysc2.lib.features.Features is pysc2_evolved.lib.features.Features
            and sys.modules["pysc2"] is sys.modules["pysc2_evolved"],
    "spec": pysc2.lib.protocol.__spec__.name,
    "environ": {k: v for k, v in os.environ.items() if before.get(k) != v},
    "handlers": len(logging.root.handlers),
    "disabled": logging.root.manager.disable,
    "argv": sys.argv,
    "seconds": inspect.signature(remote_controller.RemoteController).parameters[
        "timeout_seconds"].default,
}))
""",
        SMAC_PATH=str(smac),
        FOUND=str(tmp_path / ".env"),
    )
    assert found == {
        "name": "StarCraft2Env",
        "same": True,
        "spec": "pysc2_evolved.lib.protocol",
        "environ": {},
        "handlers": 0,
        "disabled": 0,
        "argv": ["dm2", "--actors", "32"],
        "seconds": 7,
    }


def test_nothing_is_aliased_before_loading():
    assert (
        run("import importlib.util, json\nprint(json.dumps(importlib.util.find_spec('pysc2')))")
        is None
    )


def test_a_dead_game_is_known_to_be_dead(smac):
    assert run(
        """
import json, subprocess, sys
importing.load()
from pysc2.lib.sc_process import StarcraftProcess
def state(process, port):
    game = StarcraftProcess.__new__(StarcraftProcess)
    game._proc, game._port = process, port
    alive = game.running
    game._proc = game._port = None
    return alive
living = subprocess.Popen(["sleep", "60"])
dead = subprocess.Popen(["true"])
dead.wait()
print(json.dumps([state(living, 5), state(dead, 5), state(None, 5), state(None, None)]))
living.kill(); living.wait()
""",
        SMAC_PATH=str(smac),
    ) == [True, False, True, False]


def test_a_missing_pysc2_is_told_with_the_extra(smac):
    told = run(TRY, "-S", SMAC_PATH=str(smac))
    assert told == "PySC2 is missing; install dm2-dist with the extra [sc2]"


@pytest.mark.parametrize(
    ("planted", "beginning"),
    [
        ("import nothing_of_that_name", "PySC2 does not import (ModuleNotFoundError: No module"),
        ("raise TypeError('Descriptors cannot be created directly.\\nIf')", "protobuf "),
    ],
)
def test_a_pysc2_that_does_not_import_is_one_sentence(smac, tmp_path, planted, beginning):
    broken = plant(tmp_path / "broken", {"pysc2_evolved/lib/sc_process.py": planted})
    told = run(TRY, SMAC_PATH=str(smac), PYTHONPATH=str(broken))
    assert told.startswith(beginning)
    assert "[sc2]" in told
    assert "\n" not in told


def test_a_smac_that_does_not_import_is_one_sentence(tmp_path):
    files = {"smac/env/__init__.py": "1 / 0", "smac/env/starcraft2/starcraft2.py": ""}
    told = run(TRY, SMAC_PATH=str(plant(tmp_path / "broken", files)))
    assert told.startswith(f"SMAC in {tmp_path / 'broken'} does not import (ZeroDivisionError")


def test_the_original_is_repaired_while_it_is_imported(smac, tmp_path):
    """Its palette was shuffled by Python 3.10 with a function of its own; the order must stay."""
    original = plant(
        tmp_path / "original",
        {
            "pysc2/lib/colors.py": "import random\nlevels = list(range(10))\n"
            "draws = iter([.9, .1, .5, .7, .3, .2, .8, .4, .6])\n"
            "random.shuffle(levels, lambda: next(draws))\n",
            "pysc2/run_configs/__init__.py": "",
            "pysc2/maps/__init__.py": "",
            "absl/flags.py": "class Parsed:\n    def is_parsed(self): return True\n"
            "    def __contains__(self, name): return False\nFLAGS = Parsed()\n",
        },
    )
    found = run(
        """
import json, random
before = random.shuffle
importing.load()
import pysc2.lib.colors
print(json.dumps([pysc2.lib.colors.levels, random.shuffle == before]))
""",
        "-S",
        SMAC_PATH=str(smac),
        PYTHONPATH=str(original),
    )
    expected = list(range(10))
    draws = iter([0.9, 0.1, 0.5, 0.7, 0.3, 0.2, 0.8, 0.4, 0.6])
    for last in range(9, 0, -1):
        other = int(next(draws) * (last + 1))
        expected[last], expected[other] = expected[other], expected[last]
    assert found == [expected, True]


# --- protobuf ---


@pytest.mark.parametrize(
    ("messages", "chosen", "backend"),
    [
        ("_descriptor.FileDescriptor(", {}, "python"),
        ("_builder.BuildMessage", {}, "compiled"),
        (
            "_descriptor.FileDescriptor(",
            {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "upb"},
            "compiled",
        ),
        ("_builder.BuildMessage", {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}, "python"),
    ],
)
def test_old_messages_are_read_in_python_unless_somebody_chose(tmp_path, messages, chosen, backend):
    planted = plant(tmp_path / "messages", {"s2clientprotocol/common_pb2.py": messages})
    code = "import json, os\nprint(json.dumps(importing.choose_backend(os.environ)))"
    assert run(code, PYTHONPATH=str(planted), **chosen) == backend


# --- the real one ---


def test_the_real_smac_is_imported_with_the_compiled_parser():
    clone = os.environ.get("SMAC_PATH")
    if not clone:
        pytest.skip("SMAC_PATH does not name a clone of SMAC")
    found = run(
        """
import json
env = importing.load()
from google.protobuf.internal import api_implementation
print(json.dumps([env(map_name="3m").get_env_info()["obs_shape"], api_implementation.Type()]))
""",
        SMAC_PATH=clone,
    )
    assert found == [30, "upb"]
