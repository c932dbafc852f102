"""The game's folder, the machine under it, and what a run's record says of them."""

import hashlib
import json
import platform
import shutil
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist import presets, run_directory
from dm2_dist.envs.sc2_standin import tree
from dm2_dist.envs.starcraft import (
    installation,
    installation_machine,
    installation_program,
    installation_record,
    installation_simulator,
    launching,
)
from dm2_dist.envs.starcraft.installation import InstallationError
from dm2_dist.envs.starcraft.installation_machine import Needs
from dm2_dist.run_directory import RunDirectoryError


@pytest.fixture
def root(tmp_path):
    """A folder of the game, of the stand-in."""
    tree.install(tmp_path / "sc2")
    return tmp_path / "sc2"


@pytest.fixture
def environ(root):
    """The environment of a worker."""
    return {"SC2PATH": str(root)}


# --- what is played ---


def test_the_newest_build_is_played_unless_a_version_is_named(environ, root):
    newest = installation.inspect(environ, "3m")
    assert (newest.version, newest.build) == ("4.10.0", 75689)
    assert newest.data_version == "B89B5D6FA7CBF6452E721311BFBC6CB2"
    assert newest.program == root / "Versions" / "Base75689" / "SC2_x64"
    assert newest.stand_in
    assert "stand-in" in newest.summary
    assert installation.inspect(environ, "3m", "4.10") == newest
    assert installation.inspect(environ, "3m", "latest") == newest
    older = installation.inspect(environ, "3m", "4.6.2")
    assert (older.version, older.build) == ("4.6.2", 69232)


def test_the_map_is_known_by_its_digest(environ, root):
    path = root / "Maps" / "SMAC_Maps" / "8m.SC2Map"
    found = installation.inspect(environ, "8m")
    assert found.map_path == path
    assert found.map_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_home_without_a_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InstallationError, match="StarCraftII is not there; set SC2PATH"):
        installation.find_root({})
    (tmp_path / "StarCraftII").mkdir()
    assert installation.find_root({}) == tmp_path / "StarCraftII"


def remove_versions(root):
    shutil.rmtree(root / "Versions")


def empty_versions(root):
    remove_versions(root)
    (root / "Versions").mkdir()


def misname_a_version(root):
    (root / "Versions" / "Base75689").rename(root / "Versions" / "Base75689-old")


def remove_program(root):
    (root / "Versions" / "Base75689" / "SC2_x64").unlink()


def forbid_program(root):
    (root / "Versions" / "Base75689" / "SC2_x64").chmod(0o644)


def remove_map(root):
    (root / "Maps" / "SMAC_Maps" / "3m.SC2Map").unlink()


def age(root):
    shutil.rmtree(root / "Versions" / "Base75689")
    (root / "Versions" / "Base69232").rename(root / "Versions" / "Base52910")


DAMAGES = [
    (shutil.rmtree, "that is no folder; set SC2PATH"),
    (remove_versions, "holds no folder Versions"),
    (empty_versions, "holds no folder Base<number>"),
    (misname_a_version, "rename it, or move it out"),
    (remove_program, "SC2_x64 is missing; unpack"),
    (forbid_program, "chmod"),
    (remove_map, "SMAC_Maps of a clone"),
    (age, "older than 3.16.1"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGES)
def test_every_damage_is_one_sentence_with_its_mend(environ, root, damage, told):
    damage(root)
    with pytest.raises(InstallationError, match=told) as refused:
        installation.inspect(environ, "3m")
    assert "; " in str(refused.value) or ": " in str(refused.value)
    assert "\n" not in str(refused.value)


@given(
    found=st.lists(st.integers(55958, 99999), min_size=1, unique=True).map(sorted),
    version=st.text("0123456789.", max_size=8),
)
def test_a_version_that_is_not_there_is_never_replaced_by_another(found, version):
    try:
        chosen = installation.choose_build(found, version)
    except InstallationError:
        return
    assert chosen in found
    if version:
        full = version if version.count(".") > 1 else f"{version}.0"
        assert installation.version_of_build(chosen) == full


# --- the record of a run ---


@pytest.fixture
def config():
    """A run of StarCraft II."""
    base = presets.by_name("quickstart")
    collection = replace(base.collection, episodes_per_ticket=1)
    return replace(base, env="smac", map="3m", collection=collection)


@pytest.fixture
def smac_named(tmp_path, monkeypatch, root):
    """The environment variables that a run would have."""
    package = tmp_path / "clone" / "smac" / "env" / "starcraft2"
    package.mkdir(parents=True)
    (package / "starcraft2.py").touch()
    monkeypatch.setenv("SMAC_PATH", str(tmp_path / "clone"))
    monkeypatch.setenv("SC2PATH", str(root))
    return tmp_path / "clone"


def acquire(folder, config, *, resume=False):
    directory, lock = run_directory.acquire(folder, config, resume=resume)
    lock.release()
    return json.loads(directory.config.read_text())["versions"]


def test_a_run_says_which_game_and_map_it_plays(tmp_path, config, smac_named, root):
    said = acquire(tmp_path / "run", config)
    assert said["starcraft2"] == "4.10.0"
    assert said["starcraft2_build"] == "75689"
    assert said["starcraft2_program"] == "stand-in"
    map_file = root / "Maps" / "SMAC_Maps" / "3m.SC2Map"
    assert said["starcraft2_map_sha256"] == installation.sha256_of(map_file)
    assert said["pysc2"].startswith("pysc2-evolved ")
    assert said["s2clientprotocol"].startswith("pys2clientprotocol ")
    assert said["protobuf"]
    assert acquire(tmp_path / "run", config, resume=True) == said


def test_a_run_is_not_resumed_with_another_game(tmp_path, config, smac_named, root):
    acquire(tmp_path / "run", config)
    shutil.rmtree(root / "Versions" / "Base75689")
    with pytest.raises(RunDirectoryError, match=r"starcraft2 was 4\.10\.0, and is 4\.6\.2 now"):
        acquire(tmp_path / "run", config, resume=True)


def test_a_run_is_not_resumed_with_another_map_file(tmp_path, config, smac_named, root):
    acquire(tmp_path / "run", config)
    with (root / "Maps" / "SMAC_Maps" / "3m.SC2Map").open("ab") as file:
        file.write(b"changed")
    with pytest.raises(RunDirectoryError, match="starcraft2_map_sha256 was "):
        acquire(tmp_path / "run", config, resume=True)


def test_a_run_without_its_game_does_not_begin(tmp_path, config, smac_named, root):
    remove_map(root)
    with pytest.raises(RunDirectoryError, match=r"3m\.SC2Map is missing"):
        acquire(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_the_simulator_needs_no_game(tmp_path, monkeypatch):
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nothing"))
    said = acquire(tmp_path / "run", presets.by_name("quickstart"))
    assert not any(name.startswith("starcraft") for name in said)


def test_the_commit_of_a_clone_is_known(smac_named, root):
    git = ["git", "-C", str(smac_named), "-c", "user.name=n", "-c", "user.email=e@x"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "m"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    environ = {"SC2PATH": str(root), "SMAC_PATH": str(smac_named)}
    assert installation_record.record(environ, "3m")["smac"] == head.stdout.strip()


# --- the program ---


@pytest.fixture
def program(tmp_path):
    """A real program of this machine."""
    copied = tmp_path / "SC2_x64"
    shutil.copy(shutil.which("ls"), copied)
    return copied


def levels(root, program):
    """Level by check."""
    return {each.check: each.level for each in installation_program.findings(root, program)}


def test_a_program_of_this_machine_is_fine(tmp_path, program):
    found = installation_program.findings(tmp_path, program)
    assert {each.check for each in found} == {"program", "glibc", "libraries"}
    assert {each.level for each in found} == {"ok"}
    assert platform.machine() in found[0].found


@pytest.mark.parametrize("kept", [0, 3, 63, 64, 1000, -1])
def test_a_program_cut_short_is_found(tmp_path, program, kept):
    program.write_bytes(program.read_bytes()[:kept])
    assert levels(tmp_path, program) == {"program": "fault"}


def test_a_program_of_another_architecture_is_found(tmp_path, program):
    content = bytearray(program.read_bytes())
    content[18:20] = (0x16).to_bytes(2, "little")
    program.write_bytes(content)
    assert levels(tmp_path, program) == {"program": "fault"}


def test_a_program_that_needs_a_newer_glibc_is_found(tmp_path, program):
    program.write_bytes(program.read_bytes() + b"\0GLIBC_2.99\0")
    assert levels(tmp_path, program)["glibc"] == "fault"


@pytest.mark.skipif(shutil.which("ldd") is None, reason="this machine has no ldd")
def test_a_missing_library_is_named(tmp_path, program):
    program.write_bytes(program.read_bytes().replace(b"\0libc.so.6\0", b"\0libq.so.9\0"))
    (wrong,) = [x for x in installation_program.findings(tmp_path, program) if x.level == "fault"]
    assert "libq.so.9" in wrong.found


def test_a_script_without_its_interpreter_is_found(tmp_path, program):
    program.write_text("#!/nowhere/at/all\n")
    assert levels(tmp_path, program) == {"program": "fault"}
    program.write_text("#!/bin/sh\nexec true\n")
    assert levels(tmp_path, program) == {"program": "warning"}


# --- the machine ---


def test_the_named_number_of_actors_is_the_most_that_fits():
    needs = Needs(actors=500, games=True, game_megabytes=700)
    refused = installation_machine.memory(needs, 64_000)
    assert refused.level == "fault"
    most = int(refused.mend.removeprefix("use --actors "))
    assert 0 < most < 500
    for actors, fits in ((most, True), (most + 1, False)):
        told = installation_machine.memory(replace(needs, actors=actors), 64_000)
        assert (told.level != "fault") == fits


def test_a_machine_too_small_for_one_game_is_told_so():
    told = installation_machine.memory(Needs(actors=1, games=True), 500)
    assert (told.level, told.mend) == ("fault", "use a machine with more memory")


def test_the_limit_of_a_container_counts(tmp_path):
    (tmp_path / "memory.max").write_text(f"{300 * 2**20}\n")
    (tmp_path / "memory.current").write_text(f"{100 * 2**20}\n")
    assert installation_machine.available_megabytes(tmp_path) == 200
    (tmp_path / "memory.max").write_text("max\n")
    assert installation_machine.available_megabytes(tmp_path) > 200


def test_ports_that_are_taken_do_not_count():
    with ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(3)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
            each.listen()
        numbers = [each.getsockname()[1] for each in taken]
        assert installation_machine.ports(2, numbers).level == "fault"
    assert installation_machine.ports(3, numbers).level == "ok"


def test_the_ports_are_those_that_games_take():
    assert installation_machine.GAME_PORTS == launching.PORTS


def test_open_files_processors_and_disk():
    needs = Needs(actors=100, games=True)
    assert installation_machine.open_files(needs, 1024).level == "fault"
    assert installation_machine.open_files(needs, 1_000_000).level == "ok"
    assert installation_machine.processors(needs, 2).level == "warning"
    assert installation_machine.processors(needs, 64).level == "ok"
    assert installation_machine.shared_memory(Path("/nowhere")).level == "warning"


def test_a_cache_that_cannot_be_written_is_a_fault(tmp_path):
    (tmp_path / "file").touch()
    kernels = tmp_path / "file" / "kernels"
    blocked = {"XDG_CACHE_HOME": str(tmp_path / "file")}
    assert installation_simulator.compiled_code(blocked, kernels).level == "fault"
    mended = {**blocked, "NUMBA_CACHE_DIR": str(tmp_path / "new" / "cache")}
    assert installation_simulator.compiled_code(mended, kernels).level == "ok"
    assert not (tmp_path / "new").exists()
