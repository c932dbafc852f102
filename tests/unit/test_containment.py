"""A run directory or demonstrations from somebody else cannot make us write or read elsewhere."""

import json
import os
import shutil

import pytest

from dm2_dist import checkpoint, demonstrations, run_directory
from dm2_dist.checkpoint import CheckpointError
from dm2_dist.config import RunConfig
from dm2_dist.demonstrations import Card, DemonstrationsError
from dm2_dist.run_directory import RunDirectoryError

CONFIG = RunConfig()


@pytest.fixture
def run(tmp_path):
    """A run with one checkpoint, ready to be resumed."""
    directory, lock = run_directory.acquire(tmp_path / "run", CONFIG, resume=False)
    checkpoint.save(directory.checkpoints(0), 1, {"version": 0}, {"state.safetensors": b"x"})
    checkpoint.save_parameters(directory.checkpoints(0), 0, b"y")
    lock.release()
    return directory


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "00000000.safetensors").write_bytes(b"precious")
    return folder


def resume(run):
    _, lock = run_directory.acquire(run.root, CONFIG, resume=True)
    lock.release()


def test_an_honest_run_is_resumed_also_through_a_link_to_it(run, tmp_path):
    resume(run)
    (tmp_path / "link").symlink_to(run.root)
    run_directory.acquire(tmp_path / "link", CONFIG, resume=True)[1].release()


@pytest.mark.parametrize(
    "place",
    ["checkpoints", "checkpoints/agent_0", "checkpoints/agent_0/parameters", "logs",
     "checkpoints/agent_0/commit-00000001", "checkpoints/agent_0/.draft-00000002", "ledger"],
)  # fmt: skip
def test_a_folder_that_lies_elsewhere_is_refused(run, outside, place):
    path = run.root / place
    if path.exists():
        shutil.rmtree(path)
    path.symlink_to(outside)
    with pytest.raises(RunDirectoryError, match=f"{place} is a link or a special file"):
        resume(run)
    assert (outside / "00000000.safetensors").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "place",
    ["config.json", "metrics.jsonl", "summary.json", "run.lock", "logs/head-0.log",
     "ledger/actor-0@1.cnt", "checkpoints/agent_0/commit-00000001/state.safetensors",
     "checkpoints/agent_0/parameters/00000000.safetensors"],
)  # fmt: skip
def test_a_file_that_lies_elsewhere_is_refused(run, outside, place):
    path = run.root / place
    target = outside / "file"
    target.write_bytes(path.read_bytes() if path.exists() else b"precious")
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    before = target.read_bytes()
    with pytest.raises(RunDirectoryError, match="is a link or a special file"):
        resume(run)
    assert target.read_bytes() == before


def test_a_pipe_does_not_hang(run):
    os.mkfifo(run.root / "ledger" / "actor-0@1.cnt")
    with pytest.raises(RunDirectoryError, match="is a link or a special file"):
        resume(run)


def test_what_a_run_does_not_write_may_be_a_link(run, outside):
    (run.root / "replays").mkdir()
    (run.root / "replays" / "link").symlink_to(outside)
    resume(run)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "a/b", "..", ".", "", "x\0y", "./state.safetensors"]
)
def test_a_manifest_cannot_name_a_file_elsewhere(tmp_path, name):
    folder = tmp_path / "agent_0"
    checkpoint.save(folder, 1, {}, {"state.safetensors": b"x"})
    (folder / "secret").write_bytes(b"x")
    path = folder / "commit-00000001" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sha256"] = {name: manifest["sha256"]["state.safetensors"]}
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged"):
        checkpoint.load_newest(folder)


# --- demonstrations ---


@pytest.fixture
def recorded(tmp_path):
    folder = tmp_path / "demonstrations"
    folder.mkdir()
    card = Card(
        env="skirmish", map="3m", num_agents=1, observation_size=2, num_actions=3, episodes=1,
        greedy=True, run="r", policies=("0:a",), seeds=("1",), returns=(1.0,), lengths=(1,),
        won=(True,),
    )  # fmt: skip
    demonstrations.write(folder, card, [])
    (folder / "agent_0.safetensors").write_bytes(b"x")
    return folder


def check(folder):
    return demonstrations.check(folder, "3m", (1, 2, 3), 1)


def test_honest_demonstrations_are_accepted_also_through_a_link(recorded, tmp_path):
    check(recorded)
    (tmp_path / "link").symlink_to(recorded)
    check(tmp_path / "link")


@pytest.mark.parametrize("name", ["demonstrations.json", "agent_0.safetensors"])
@pytest.mark.parametrize("target", ["/dev/zero", "../file", "pipe"])
def test_demonstrations_that_lie_elsewhere_are_refused(recorded, name, target):
    path = recorded / name
    if target == "../file":
        path.rename(recorded / target)
    else:
        path.unlink()
    if target == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    with pytest.raises(DemonstrationsError, match="is a link or a special file"):
        check(recorded)
