import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest

import dm2_dist
from dm2_dist import run_directory
from dm2_dist.config import RunConfig
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from dm2_dist.sections import PPOConfig

CONFIG = RunConfig(seed=3, max_env_steps=1000)


def start(root, config=CONFIG, *, resume=False):
    """Take the directory as a run does and let it go again."""
    directory, lock = run_directory.acquire(root, config, resume=resume)
    lock.release()
    return directory


@pytest.fixture
def run(tmp_path):
    """A directory that holds a run of CONFIG, free to be taken up."""
    return start(tmp_path / "run")


# --- taking a directory ---


def test_a_new_run_writes_its_configuration_and_what_produced_it(tmp_path):
    directory = start(tmp_path / "deep" / "run")
    document = json.loads(directory.config.read_text())
    assert directory.read_config() == CONFIG
    assert document["versions"]["dm2-dist"] == dm2_dist.__version__
    assert {"python", "torch", "numpy", "machine", "git_commit"} <= set(document["versions"])
    assert directory.ledger.is_dir()
    assert directory.logs.is_dir()


def test_a_directory_in_use_by_another_process_is_refused(tmp_path):
    holder = """
import sys
from pathlib import Path
from dm2_dist import run_directory
from dm2_dist.config import RunConfig
_, lock = run_directory.acquire(Path(sys.argv[1]), RunConfig(seed=3), resume=False)
print("held", flush=True)
sys.stdin.read()
"""
    root = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout.readline() == "held\n"
        for resume in (False, True):
            with pytest.raises(RunDirectoryError, match="in use by another dm2 process"):
                run_directory.acquire(root, RunConfig(seed=3), resume=resume)
        child.kill()
    assert start(root, RunConfig(seed=3), resume=True).read_config() == RunConfig(seed=3)


def test_a_second_run_in_the_same_directory_is_refused(run):
    with pytest.raises(RunDirectoryError, match="--resume"):
        start(run.root)


def test_a_refusal_lets_the_directory_go(run):
    with pytest.raises(RunDirectoryError):
        start(run.root)
    assert start(run.root, resume=True).root == run.root


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(RunDirectoryError, match="holds no run to continue"):
        start(tmp_path, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_resuming_with_another_configuration_names_the_keys(run):
    other = replace(CONFIG, seed=4, ppo=PPOConfig(clip=0.5))
    with pytest.raises(RunDirectoryError) as refusal:
        start(run.root, other, resume=True)
    assert "seed: 3 before, 4 now" in str(refusal.value)
    assert "ppo.clip: 0.05 before, 0.5 now" in str(refusal.value)
    assert run.read_config() == CONFIG


def test_resuming_may_move_the_end_further_out_but_not_closer(run):
    further = replace(CONFIG, max_env_steps=2000)
    assert start(run.root, further, resume=True).read_config() == further
    with pytest.raises(RunDirectoryError, match="max_env_steps: 2000 before, 1000 now"):
        start(run.root, CONFIG, resume=True)


@pytest.mark.parametrize("blocked", ["", "ledger", "logs"])
def test_a_file_in_the_way_is_named(tmp_path, blocked):
    root = tmp_path / "run"
    if blocked:
        root.mkdir()
    (root / blocked).write_text("not a folder")
    with pytest.raises(RunDirectoryError, match=r"cannot be written .* choose another --run-dir"):
        start(root)


# --- reading ---


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(RunDirectoryError, match="holds no run"):
        RunDirectory(tmp_path).read_config()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"config": {"sede": 1}}', '{"config": []}', '"config"']
)
def test_a_damaged_configuration_is_named(run, text):
    run.config.write_text(text)
    with pytest.raises(RunDirectoryError, match=r"config\.json cannot be read"):
        run.read_config()


def test_there_is_no_summary_before_the_first_end(run):
    assert run.read_summary() is None
    run_directory.write_atomically(run.summary, b'{"finished": true}')
    assert run.read_summary() == {"finished": True}


def test_default_folders_never_meet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = RunConfig(map="8m", algorithm="dm2")
    roots = []
    for _ in range(3):
        roots.append(run_directory.default_root(config))
        roots[-1].mkdir(parents=True)
    assert len(set(roots)) == 3
    assert all(root.name.startswith("8m-dm2-") for root in roots)


# --- files ---


def test_a_replaced_file_leaves_no_draft(tmp_path):
    path = tmp_path / "file"
    for data in (b"old", b"new"):
        run_directory.write_atomically(path, data)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_replacement_keeps_the_old_bytes(tmp_path):
    path = tmp_path / "file"
    run_directory.write_atomically(path, b"old")
    with pytest.raises(TypeError):
        run_directory.write_atomically(path, "not bytes")
    assert path.read_bytes() == b"old"


def test_lines_read_back_in_order(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert run_directory.read_lines(path) == []
    for number in range(3):
        run_directory.append_line(path, {"number": number})
    assert run_directory.read_lines(path) == [{"number": number} for number in range(3)]


@pytest.mark.parametrize("kept", range(1, len('{"number": 1}') + 1))
def test_a_line_cut_by_a_crash_spoils_neither_the_one_before_nor_the_one_after(tmp_path, kept):
    path = tmp_path / "lines.jsonl"
    run_directory.append_line(path, {"number": 0})
    cut = '{"number": 1}'[:kept]
    with path.open("a") as file:
        file.write(cut)
    run_directory.append_line(path, {"number": 2})
    numbers = [line["number"] for line in run_directory.read_lines(path)]
    assert numbers in ([0, 2], [0, 1, 2])
    assert (1 in numbers) == cut.endswith("}")


# --- scenarios ---


@pytest.fixture
def scenario(tmp_path):
    """A file that a run can be pinned to; what stands in it does not matter here."""
    path = tmp_path / "mine" / "ambush.toml"
    path.parent.mkdir()
    path.write_bytes(b'name = "ambush"\n')
    return path


def pinned(scenario, **changes):
    return run_directory.pin_scenario(replace(CONFIG, map=str(scenario), **changes))


def test_a_run_plays_its_own_copy_of_the_scenario(tmp_path, scenario):
    directory = start(tmp_path / "run", pinned(scenario))
    copy = tmp_path / "run" / "scenario.toml"
    assert copy.read_bytes() == scenario.read_bytes()
    scenario.unlink()
    found = directory.read_config()
    assert found.map == str(copy)
    assert replace(found, map="3m", scenario_sha256="") == replace(CONFIG, map="3m")
    assert start(directory.root, found, resume=True).read_config() == found


def test_the_digest_is_that_of_the_file(scenario):
    digest = hashlib.sha256(scenario.read_bytes()).hexdigest()
    assert pinned(scenario).scenario_sha256 == digest
    assert pinned(scenario, scenario_sha256=digest) == pinned(scenario)
    assert run_directory.pin_scenario(CONFIG) == CONFIG


def test_a_relative_path_is_pinned_to_where_it_leads_now(scenario, monkeypatch):
    monkeypatch.chdir(scenario.parent)
    assert pinned("ambush.toml") == pinned(scenario)


def test_a_run_with_a_scenario_can_be_moved(tmp_path, scenario):
    directory = start(tmp_path / "run", pinned(scenario))
    assert json.loads(directory.config.read_text())["config"]["map"] == "scenario.toml"
    moved = RunDirectory(directory.root.rename(tmp_path / "elsewhere"))
    assert moved.read_config().map == str(tmp_path / "elsewhere" / "scenario.toml")


def test_a_changed_scenario_is_noticed(tmp_path, scenario):
    directory = start(tmp_path / "run", pinned(scenario))
    (directory.root / "scenario.toml").write_bytes(b'name = "trap"\n')
    with pytest.raises(RunDirectoryError, match=r"scenario\.toml is not the scenario that the run"):
        directory.read_config()


def test_a_missing_scenario_is_noticed(tmp_path, scenario):
    directory = start(tmp_path / "run", pinned(scenario))
    (directory.root / "scenario.toml").unlink()
    with pytest.raises(RunDirectoryError, match=r"scenario\.toml cannot be read .* bring it back"):
        directory.read_config()


def test_resuming_takes_the_same_scenario_from_anywhere_and_no_other(tmp_path, scenario):
    directory = start(tmp_path / "run", pinned(scenario))
    elsewhere = tmp_path / "copy.toml"
    elsewhere.write_bytes(scenario.read_bytes())
    before = directory.read_config()
    assert start(directory.root, pinned(elsewhere), resume=True).read_config() == before
    elsewhere.write_bytes(b'name = "trap"\n')
    with pytest.raises(RunDirectoryError, match=r"copy\.toml is not the scenario that the run was"):
        pinned(elsewhere, scenario_sha256=before.scenario_sha256)
    with pytest.raises(RunDirectoryError, match="scenario_sha256: "):
        start(directory.root, pinned(elsewhere), resume=True)


def test_a_scenario_that_changes_while_the_run_starts_is_noticed(tmp_path, scenario):
    config = pinned(scenario)
    scenario.write_bytes(b'name = "trap"\n')
    with pytest.raises(RunDirectoryError, match="is not the scenario"):
        start(tmp_path / "run", config)
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_default_folder_is_named_after_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = run_directory.default_root(replace(CONFIG, map="some/where/ambush.toml"))
    assert root.parent.name == "runs"
    assert root.name.startswith("ambush-ippo-")
