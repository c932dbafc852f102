import json
import shutil

import pytest

from dm2_dist import checkpoint
from dm2_dist.checkpoint import CheckpointError


def save(folder, *sequences):
    for sequence in sequences:
        checkpoint.save(folder, sequence, {"version": sequence}, {"state": b"%d" % sequence})


def newest(folder):
    commit = checkpoint.load_newest(folder)
    return commit.sequence, commit.skipped


def commit_folder(folder, sequence):
    return folder / f"commit-{sequence:08d}"


def cut_state(path):
    (path / "state").write_bytes(b"")


def change_state(path):
    (path / "state").write_bytes(b"x")


def lose_state(path):
    (path / "state").unlink()


def lose_manifest(path):
    (path / "manifest.json").unlink()


def cut_manifest(path):
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text[: len(text) // 2])


def empty_manifest(path):
    (path / "manifest.json").write_text("{}")


def replace_manifest(path):
    (path / "manifest.json").write_text("[]")


def lose_all(path):
    for file in path.iterdir():
        file.unlink()


DAMAGES = [
    cut_state,
    change_state,
    lose_state,
    lose_manifest,
    cut_manifest,
    empty_manifest,
    replace_manifest,
    lose_all,
]


# --- commits ---


def test_a_commit_reads_back(tmp_path):
    facts = {"version": 4, "history": {"3": 100}, "books": "{}"}
    files = {"state.safetensors": bytes(range(256)), "empty": b""}
    checkpoint.save(tmp_path / "new" / "folder", 7, facts, files)
    commit = checkpoint.load_newest(tmp_path / "new" / "folder")
    assert (commit.sequence, commit.facts, commit.files, commit.skipped) == (7, facts, files, 0)


def test_there_is_nothing_before_the_first_commit(tmp_path):
    assert checkpoint.load_newest(tmp_path) is None
    assert checkpoint.load_newest(tmp_path / "missing") is None


def test_the_newest_commit_is_read_and_three_are_kept(tmp_path):
    save(tmp_path, *range(1, 13))
    assert newest(tmp_path) == (12, 0)
    assert [path.name for path in checkpoint.commits(tmp_path)] == [
        f"commit-{sequence:08d}" for sequence in (10, 11, 12)
    ]


@pytest.mark.parametrize("written", [[], ["state"], ["state", "manifest.json"]])
def test_a_process_killed_while_writing_leaves_the_commit_before(tmp_path, written):
    """Whatever part of the draft was written: only the rename makes it a commit."""
    save(tmp_path, 1, 2)
    draft = tmp_path / ".draft-00000003"
    draft.mkdir()
    for name in written:
        shutil.copy(commit_folder(tmp_path, 2) / name, draft / name)
    (draft / "left over").write_bytes(b"from another life")
    assert newest(tmp_path) == (2, 0)
    save(tmp_path, 3)
    assert newest(tmp_path) == (3, 0)
    assert {path.name for path in commit_folder(tmp_path, 3).iterdir()} == {
        "state",
        "manifest.json",
    }


def test_a_process_killed_before_pruning_leaves_more_commits_that_go_later(tmp_path):
    save(tmp_path, 1, 2, 3)
    shutil.copytree(commit_folder(tmp_path, 3), commit_folder(tmp_path, 4))
    assert len(checkpoint.commits(tmp_path)) == 4
    save(tmp_path, 5)
    assert len(checkpoint.commits(tmp_path)) == 3
    assert newest(tmp_path) == (5, 0)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_commit_falls_back_to_the_one_before(tmp_path, damage):
    save(tmp_path, 1, 2, 3)
    damage(commit_folder(tmp_path, 3))
    assert newest(tmp_path) == (2, 1)
    assert checkpoint.load_newest(tmp_path).files == {"state": b"2"}


def test_every_damaged_commit_passed_over_is_reported(tmp_path):
    save(tmp_path, 1, 2, 3)
    cut_state(commit_folder(tmp_path, 3))
    lose_manifest(commit_folder(tmp_path, 2))
    assert newest(tmp_path) == (1, 2)


def test_damage_is_reported_until_a_commit_after_it_exists(tmp_path):
    """A reader that dies before it has committed must not take the knowledge with it."""
    save(tmp_path, 1, 2, 3)
    cut_state(commit_folder(tmp_path, 3))
    for _ in range(3):
        assert newest(tmp_path) == (2, 1)
    save(tmp_path, 4)
    assert newest(tmp_path) == (4, 0)


@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_but_damage_is_an_error_that_names_the_folder(tmp_path, damage):
    save(tmp_path, 1, 2)
    for path in checkpoint.commits(tmp_path):
        damage(path)
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        checkpoint.load_newest(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "folder/file", ".."])
def test_a_manifest_cannot_name_files_elsewhere(tmp_path, name):
    folder = tmp_path / "agent"
    save(folder, 1, 2)
    (folder / "secret").write_bytes(b"secret")
    path = commit_folder(folder, 2) / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["sha256"] = {name: manifest["sha256"]["state"]}
    path.write_text(json.dumps(manifest))
    assert newest(folder) == (1, 1)


# --- parameter versions ---


def test_parameters_read_back_by_version(tmp_path):
    for version in (0, 3, 12):
        checkpoint.save_parameters(tmp_path, version, b"%d" % version)
    assert checkpoint.parameter_versions(tmp_path) == [0, 3, 12]
    assert checkpoint.load_parameters(tmp_path, 12) == b"12"


def test_there_are_no_versions_before_the_first(tmp_path):
    assert checkpoint.parameter_versions(tmp_path) == []
    with pytest.raises(CheckpointError, match="no parameters of version 0"):
        checkpoint.load_parameters(tmp_path, 0)


def test_a_version_may_be_written_again(tmp_path):
    for data in (b"old", b"new"):
        checkpoint.save_parameters(tmp_path, 1, data)
    assert checkpoint.load_parameters(tmp_path, 1) == b"new"
    assert checkpoint.parameter_versions(tmp_path) == [1]


def test_pruning_forgets_older_versions_only(tmp_path):
    for version in range(6):
        checkpoint.save_parameters(tmp_path, version, b"")
    checkpoint.prune_parameters(tmp_path, keep_from=4)
    assert checkpoint.parameter_versions(tmp_path) == [4, 5]
    with pytest.raises(CheckpointError):
        checkpoint.load_parameters(tmp_path, 3)


def test_half_written_parameters_are_not_a_version(tmp_path):
    checkpoint.save_parameters(tmp_path, 1, b"whole")
    (tmp_path / "parameters" / ".00000002.safetensors.123.tmp").write_bytes(b"ha")
    assert checkpoint.parameter_versions(tmp_path) == [1]
