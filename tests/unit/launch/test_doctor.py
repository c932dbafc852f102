"""`dm2 doctor` finds what was planted, on real folders, processes and sockets.

Battles are played where the environment variable SMAC_PATH names a clone of SMAC; the other tests
plant a package of its shape.
"""

import json
import os
import shutil
import site
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

import dm2_dist
from dm2_dist.envs.sc2_standin import tree
from dm2_dist.envs.starcraft import installation_client, installation_machine, orphan
from launch.cli import main

CLONE = os.environ.get("SMAC_PATH", "")
FAKE = """
import time
class StarCraft2Env:
    def __init__(self, **_):
        {act}
"""


@pytest.fixture
def smac(tmp_path, monkeypatch):
    """Plant a package of SMAC's shape whose environment does something else."""

    def plant(act="raise RuntimeError('the planted game is out of order')"):
        package = tmp_path / "clone" / "smac"
        (package / "env" / "starcraft2" / "maps").mkdir(parents=True)
        for folder in (package, package / "env" / "starcraft2", package / "env/starcraft2/maps"):
            (folder / "__init__.py").touch()
        (package / "env" / "__init__.py").write_text(FAKE.format(act=act))
        (package / "env" / "starcraft2" / "starcraft2.py").touch()
        maps = "def get_smac_map_registry():\n    return {'3m': {}, '8m': {}}\n"
        (package / "env" / "starcraft2" / "maps" / "smac_maps.py").write_text(maps)
        monkeypatch.setenv("SMAC_PATH", str(tmp_path / "clone"))
        return package

    return plant


@pytest.fixture
def root(tmp_path, monkeypatch, compiled_simulator):
    """A folder of the game, of the stand-in, named to everybody."""
    tree.install(tmp_path / "sc2")
    monkeypatch.setenv("SC2PATH", str(tmp_path / "sc2"))
    return tmp_path / "sc2"


@pytest.fixture
def examined(capsys, tmp_path, monkeypatch):
    """Run the doctor; gives the exit code and the findings."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main(["doctor", "--json", *words])
        output = capsys.readouterr()
        assert output.err == ""
        document = json.loads(output.out)
        assert document["faults"] == sum(x["level"] == "fault" for x in document["findings"])
        assert code == (1 if document["faults"] else 0)
        for finding in document["findings"]:
            assert (finding["level"] == "ok") == (finding["mend"] == "")
        return code, document["findings"]

    return run


def the(findings, check, level="fault"):
    """The one finding of a check and level."""
    (found,) = [each for each in findings if each["check"] == check and each["level"] == level]
    return found


# --- the folder ---


def test_no_folder(examined, smac, tmp_path, monkeypatch):
    smac()
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nothing"))
    code, findings = examined()
    assert code == 1
    assert "SC2PATH" in the(findings, "folder")["mend"]
    assert the(findings, "episode", "warning")["found"] == "not played"


def test_no_versions(examined, smac, root):
    smac()
    shutil.rmtree(root / "Versions")
    assert "no folder Versions" in the(examined()[1], "version")["found"]


def test_a_wrong_name_under_versions(examined, smac, root):
    smac()
    (root / "Versions" / "Base75689.old").mkdir()
    assert "Base75689.old" in the(examined()[1], "version")["found"]


def test_a_missing_program(examined, smac, root):
    smac()
    (root / "Versions" / "Base75689" / "SC2_x64").unlink()
    assert "is missing" in the(examined()[1], "program")["found"]


def test_a_program_that_may_not_be_executed(examined, smac, root):
    smac()
    (root / "Versions" / "Base75689" / "SC2_x64").chmod(0o644)
    assert "chmod" in the(examined()[1], "program")["mend"]


def test_a_truncated_program(examined, smac, root):
    smac()
    program = root / "Versions" / "Base75689" / "SC2_x64"
    with open(sys.executable, "rb") as file:
        program.write_bytes(file.read(5000))
    assert "cut short" in the(examined()[1], "program")["found"]


def test_a_missing_map(examined, smac, root):
    smac()
    (root / "Maps" / "SMAC_Maps" / "8m.SC2Map").unlink()
    assert "SMAC_Maps" in the(examined("--map", "8m")[1], "map")["mend"]


def test_another_file_of_the_same_name(examined, smac, root):
    smac()
    (root / "Maps" / "old").mkdir()
    shutil.copy(root / "Maps" / "SMAC_Maps" / "3m.SC2Map", root / "Maps" / "old" / "3M.SC2Map")
    _, findings = examined("--episode-seconds", "0")
    assert "3M.SC2Map" in the(findings, "map", "warning")["found"]


def test_the_clones_own_map_is_compared(examined, smac, root):
    package = smac()
    (package / "env" / "starcraft2" / "maps" / "SMAC_Maps").mkdir()
    original = package / "env" / "starcraft2" / "maps" / "SMAC_Maps" / "3m.SC2Map"
    original.write_bytes(b"MPQ\x1boriginal")
    mine = root / "Maps" / "SMAC_Maps" / "3m.SC2Map"
    told = the(examined("--episode-seconds", "0")[1], "map", "warning")
    assert "placeholder" in told["found"]
    mine.write_bytes(b"MPQ\x1bchanged")
    told = the(examined("--episode-seconds", "0")[1], "map", "warning")
    assert "another file" in told["found"]
    mine.write_bytes(b"MPQ\x1boriginal")
    _, findings = examined("--episode-seconds", "0")
    assert the(findings, "map", "ok")
    assert not [each for each in findings if each["check"] == "map" and each["level"] != "ok"]


def test_the_stand_in_is_never_taken_for_the_game(examined, smac, root):
    smac()
    _, findings = examined("--episode-seconds", "0")
    assert "NOT StarCraft II" in the(findings, "program", "warning")["found"]


# --- the client code ---


def test_the_wrong_smac(examined, root, tmp_path, monkeypatch):
    (tmp_path / "other" / "smac" / "facade").mkdir(parents=True)
    (tmp_path / "other" / "smac" / "__init__.py").touch()
    monkeypatch.setenv("SMAC_PATH", str(tmp_path / "other"))
    told = the(examined()[1], "smac")
    assert "SMAC3" in told["found"]
    assert "oxwhirl" in told["mend"]


def test_no_smac(examined, root, monkeypatch):
    monkeypatch.delenv("SMAC_PATH", raising=False)
    told = the(examined()[1], "smac")
    assert told["found"] == "SMAC is missing"
    assert "SMAC_PATH" in told["mend"]


def test_no_pysc2(smac, tmp_path):
    smac()
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without site-packages
    bare.chmod(0o755)
    found = installation_client.findings(os.environ, "3m", str(bare))
    assert (found[-1].check, found[-1].found) == ("pysc2", "PySC2 is missing")


def test_a_pysc2_that_fails(examined, smac, root, tmp_path, monkeypatch):
    smac()
    (tmp_path / "planted" / "pysc2_evolved").mkdir(parents=True)
    (tmp_path / "planted" / "pysc2_evolved" / "__init__.py").write_text("import no_such_thing\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "planted"))
    told = the(examined()[1], "pysc2")
    assert "no_such_thing" in told["found"]
    assert "[sc2]" in told["mend"]


def test_a_pysc2_that_kills_python(examined, smac, root, tmp_path, monkeypatch):
    smac()
    (tmp_path / "planted" / "pysc2_evolved").mkdir(parents=True)
    planted = tmp_path / "planted" / "pysc2_evolved" / "__init__.py"
    planted.write_text("import os\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "planted"))
    assert "exit code 3" in the(examined()[1], "pysc2")["found"]


def test_site_packages_never_come_before_the_standard_library(monkeypatch):
    """PySC2 brings a module `enum`, with which Python does not even start."""
    clean = {"PYTHONPATH": "/mine"}
    assert installation_client.with_our_code(clean)["PYTHONPATH"].startswith("/mine:/")
    packages = Path(site.getsitepackages()[0])
    monkeypatch.setattr(dm2_dist, "__file__", str(packages / "dm2_dist" / "__init__.py"))
    assert installation_client.with_our_code(clean) == clean


def test_protobuf_in_python(examined, smac, root, monkeypatch):
    smac()
    monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
    _, findings = examined("--episode-seconds", "0")
    assert "pure Python" in the(findings, "protobuf", "warning")["found"]


def test_a_compiled_protobuf_is_fine(examined, smac, root, monkeypatch):
    smac()
    monkeypatch.delenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", raising=False)
    code, findings = examined("--episode-seconds", "0")
    assert code == 0
    assert "upb" in the(findings, "protobuf", "ok")["found"]


# --- the machine ---


def test_more_actors_than_memory(examined, smac, root):
    smac()
    code, findings = examined("--actors", "5000", "--episode-seconds", "0")
    assert code == 1
    assert "use --actors " in the(findings, "memory")["mend"]


def test_a_port_range_that_is_taken(examined, smac, root, monkeypatch):
    smac()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(installation_machine, "GAME_PORTS", range(port, port + 1))
        _, findings = examined("--actors", "1", "--episode-seconds", "0")
    assert "0 of 1" in the(findings, "ports")["found"]


# --- the episode ---


def nobody_left():
    """Whether no process of a game's is left among ours; each carries the mark of its game."""
    ours = psutil.Process().children(recursive=True)
    return not [process for process in ours if orphan.TOKEN in process.environ()]


def test_a_game_that_cannot_start_is_told_with_its_reason(examined, smac, root):
    smac()
    told = the(examined()[1], "episode")
    assert "the planted game is out of order" in told["found"]
    assert nobody_left()


def test_a_start_that_hangs_meets_the_deadline(examined, smac, root):
    smac("time.sleep(600)")
    began = time.monotonic()
    told = the(examined("--episode-seconds", "6")[1], "episode")
    assert "not answered" in told["found"]
    assert time.monotonic() - began < 60
    assert nobody_left()


@pytest.fixture
def real(root, monkeypatch):
    """The real SMAC."""
    if not CLONE:
        pytest.skip("SMAC_PATH does not name a clone of SMAC")
    monkeypatch.setenv("SMAC_PATH", CLONE)
    return root


def test_a_whole_episode_is_played_and_measured(examined, real):
    code, findings = examined()
    assert code == 0
    assert "env steps at" in the(findings, "episode", "ok")["found"]
    (memory,) = [each for each in findings if each["check"] == "memory"]
    assert "(measured)" in memory["found"]
    assert nobody_left()


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        ("exit_at_start", "the game's exit code is 1"),
        ("crash_at=30", "the game's exit code is 139"),
        ("hang_at=30", "imed out"),
        ("refuse_create", "refused on order"),
        ("wrong_status_at=30", "state"),
    ],
)
def test_a_game_that_fails_is_found(examined, real, monkeypatch, planted, told):
    monkeypatch.setenv("DM2_STANDIN_FAULT", planted)
    assert told in the(examined("--episode-seconds", "20")[1], "episode")["found"]
    assert nobody_left()


# --- without a game ---


def test_users_of_the_simulator_are_not_asked_for_a_game(examined, tmp_path, monkeypatch):
    for name in ("SC2PATH", "SMAC_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    code, findings = examined("--actors", "1")
    assert code == 0
    assert "--env smac" in the(findings, "StarCraft II", "ok")["found"]
    checks = {each["check"] for each in findings}
    assert {"memory", "ports", "torch", "compiled code"} <= checks
    assert not checks & {"folder", "smac", "episode"}
    assert {each["check"] for each in examined("--env", "skirmish")[1]} == checks - {"StarCraft II"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--actors", "0"], "actors is 0"),
        (["--map", "nowhere"], "nowhere"),
        (["--episode-seconds", "-1"], "episode-seconds is -1"),
    ],
)
def test_wrong_arguments_are_refused(capsys, words, told):
    assert main(["doctor", *words]) == 2
    output = capsys.readouterr()
    assert told in output.err
    assert output.err.count("\n") == 1


def test_the_table_says_it_in_words(capsys, smac, root, tmp_path, monkeypatch):
    smac()
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(root / "Versions")
    assert main(["doctor", "--actors", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    index = next(index for index, line in enumerate(lines) if line.startswith("fault    version"))
    assert lines[index + 1].strip().startswith("-> set SC2PATH")
    assert lines[-1].startswith("1 fault, ")
