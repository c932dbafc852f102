"""The run record against real files: what the head writes, and what a new head finds."""

import errno
import json

import pytest

from dm2_dist import checkpoint, run_directory
from dm2_dist.comms import messages
from dm2_dist.comms.counter_file import CounterFile
from dm2_dist.comms.ledger import LearnerBook
from dm2_dist.comms.messages import Source
from dm2_dist.comms.refusal import Reason
from dm2_dist.config import RunConfig
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from dm2_dist.sections import EvaluationConfig
from launch import record
from launch.record import RunRecord, conclude

K = 2
CONFIG = RunConfig(max_env_steps=100, evaluation=EvaluationConfig(episodes=3))
ACTOR = Source(name="actor-0", incarnation=1)
HEADLESS = Source(name="actor-1", incarnation=1)


@pytest.fixture
def directory(tmp_path):
    directory, lock = run_directory.acquire(tmp_path / "run", CONFIG, resume=False)
    lock.release()
    return directory


@pytest.fixture
def run_record(directory):
    return RunRecord.open(directory, CONFIG)


def result(won, index=0, version=1):
    return messages.Result(
        source=ACTOR,
        ticket_id=f"evaluate/{version}/{index}",
        returns=tuple(10.0 * flag for flag in won),
        lengths=tuple(20 + flag for flag in won),
        won=tuple(bool(flag) for flag in won),
    )


def learner_beat(agent=0, version=1, metrics=None, phases=None, incarnation=1):
    return messages.LearnerBeat(
        source=Source(name=f"learner-{agent}", incarnation=incarnation),
        agent=agent,
        version=version,
        env_steps={str(v): 50 * v for v in range(version + 1)},
        received={},
        received_env_steps={},
        trained=0,
        dropped={},
        metrics={"loss": 0.5} if metrics is None else metrics,
        phases=phases or {},
        parameters_sha256="",
    )


def actor_beat(name, incarnation, phases):
    return messages.ActorBeat(
        source=Source(name=name, incarnation=incarnation),
        env_steps=0,
        episodes=0,
        produced=0,
        unsettled=0,
        phases=phases,
    )


def write_counters(directory: RunDirectory, source, produced, *, clean=True):
    """What an actor notes of the trajectories it produced for each agent."""
    path = directory.ledger / f"{source.name}@{source.incarnation}.cnt"
    counters = CounterFile(path, source, K)
    for agent, count in enumerate(produced):
        counters.set_produced(agent, count)
    counters.close(clean=clean)


def write_commit(directory: RunDirectory, agent, version, drops=0, sequence=1):
    """A learner that trained `version` iterations of one ticket each from ACTOR."""
    book = LearnerBook()
    for iteration in range(version):
        book.receive(ACTOR, iteration, iteration, 0)
        book.commit(iteration)
    for extra in range(drops):
        book.drop(ACTOR, version + extra, Reason.SHUTDOWN)
    book.commit_drops()
    facts = {
        "version": version,
        "env_steps": 50 * version,
        "parameters_sha256": f"hash {agent} {version}",
        "history": {},
        "books": book.to_json(),
    }
    checkpoint.save(directory.checkpoints(agent), sequence, facts, {"state": b""})


# --- evaluations ---


def test_an_evaluation_is_on_record_once_all_its_tickets_are(run_record, directory):
    assert run_record.note_result(1, 1, result([1]), 50) is None
    assert run_record.evaluated_versions == set()
    line = run_record.note_result(1, 0, result([0, 1]), 50)
    assert (line["version"], line["env_steps"], line["episodes"]) == (1, 50, 3)
    assert line["win_rate"] == pytest.approx(2 / 3)
    assert line["return_mean"] == pytest.approx(20 / 3)
    assert line["length_mean"] == pytest.approx(62 / 3)
    assert run_record.evaluated_versions == {1}
    assert run_directory.read_lines(directory.evaluations) == [line]


def test_a_ticket_that_comes_twice_counts_once(run_record):
    for _ in range(2):
        assert run_record.note_result(1, 0, result([0, 1]), 50) is None
    assert run_record.note_result(1, 1, result([1]), 50)["episodes"] == 3


def test_evaluations_of_two_versions_do_not_mix(run_record):
    run_record.note_result(1, 0, result([0, 0]), 50)
    run_record.note_result(2, 0, result([1, 1]), 100)
    assert run_record.note_result(2, 1, result([1]), 100)["win_rate"] == 1.0
    assert run_record.note_result(1, 1, result([0]), 50)["win_rate"] == 0.0


def test_a_new_head_finds_the_evaluations(run_record, directory):
    run_record.note_result(1, 0, result([1, 1, 1]), 50)
    again = RunRecord.open(directory, CONFIG)
    assert again.evaluated_versions == {1}
    assert again.evaluations == run_record.evaluations


def test_an_evaluation_cut_by_a_crash_is_played_and_written_again(run_record, directory):
    run_record.note_result(1, 0, result([1, 1, 1]), 50)
    text = directory.evaluations.read_text()
    directory.evaluations.write_text(text + text[: len(text) // 2])
    again = RunRecord.open(directory, CONFIG)
    assert again.evaluated_versions == {1}
    again.note_result(2, 0, result([1, 1, 1]), 100)
    assert RunRecord.open(directory, CONFIG).evaluated_versions == {1, 2}


# --- learning curves and time ---


def test_metrics_are_written_once_per_version_and_agent(run_record, directory):
    for agent, version in [(0, 1), (0, 1), (1, 1), (0, 2), (0, 2)]:
        run_record.note_learner(learner_beat(agent, version))
    lines = run_directory.read_lines(directory.metrics)
    assert [(line["agent"], line["version"], line["env_steps"]) for line in lines] == [
        (0, 1, 50),
        (1, 1, 50),
        (0, 2, 100),
    ]
    assert all(line["loss"] == 0.5 for line in lines)


def test_a_new_head_does_not_write_the_same_metrics_again(run_record, directory):
    run_record.note_learner(learner_beat(0, 3))
    again = RunRecord.open(directory, CONFIG)
    again.note_learner(learner_beat(0, 3))
    again.note_learner(learner_beat(0, 4))
    lines = run_directory.read_lines(directory.metrics)
    assert [line["version"] for line in lines] == [3, 4]


def test_untrained_networks_and_restarted_learners_have_no_metrics(run_record, directory):
    run_record.note_learner(learner_beat(0, 0, metrics={}))
    run_record.note_learner(learner_beat(0, 2, metrics={}))
    assert run_directory.read_lines(directory.metrics) == []


def test_time_is_summed_over_incarnations_by_the_newest_beat_of_each(run_record):
    run_record.note_actor(actor_beat("actor-0", 1, {"play": 1.0}))
    run_record.note_actor(actor_beat("actor-0", 1, {"play": 2.0, "send": 1.0}))
    run_record.note_actor(actor_beat("actor-0", 2, {"play": 3.0}))
    run_record.note_actor(actor_beat("actor-1", 1, {"play": 4.0}))
    assert run_record.phases("actor") == {"play": 9.0, "send": 1.0}
    run_record.note_learner(learner_beat(phases={"ppo": 5.0}))
    assert run_record.phases("learner") == {"ppo": 5.0}


def test_shares_are_fractions_of_the_whole():
    assert record.shares({"play": 3.0, "send": 1.0}) == {"play": 0.75, "send": 0.25}
    assert record.shares({}) == {}
    assert record.shares({"play": 0.0}) == {}


def test_wall_seconds_go_on_after_an_end(run_record, directory):
    directory.summary.write_text('{"wall_seconds": 500.0}')
    assert RunRecord.open(directory, CONFIG).wall_seconds >= 500.0


def test_wall_seconds_go_on_after_a_kill(run_record, directory):
    """There is no summary then; the last line tells."""
    run_directory.append_line(directory.metrics, {"agent": 0, "version": 1, "wall_seconds": 400.0})
    run_directory.append_line(directory.evaluations, {"version": 1, "wall_seconds": 300.0})
    assert RunRecord.open(directory, CONFIG).wall_seconds >= 400.0


# --- the summary ---


def test_a_finished_run_is_summarised_from_what_is_on_disk(run_record, directory):
    for agent in range(K):
        write_commit(directory, agent, version=2, drops=agent)
    write_counters(directory, ACTOR, (2, 3))
    for version, won in [(1, [1, 1, 1]), (2, [1, 0, 0])]:
        run_record.note_result(version, 0, result(won, version=version), 50 * version)
    run_record.note_actor(actor_beat("actor-0", 1, {"play": 3.0, "send": 1.0}))
    run_record.restarts = {"actor": 4}
    summary = run_record.write_summary(K)
    assert directory.read_summary() == summary
    wall, speed = summary.pop("wall_seconds"), summary.pop("env_steps_per_second")
    assert wall >= 0.0
    assert speed > 0.0
    assert summary == {
        "finished": True,
        "failure": "",
        "env_steps": 100,
        "iterations": 2,
        "win_rate": pytest.approx(1 / 3),
        "win_rate_best": 1.0,
        "ledger": {
            "produced": 5,
            "trained": 4,
            "dropped": {"shutdown": 1},
            "lost": {},
            "error": 0,
        },
        "restarts": {"actor": 4, "learner": 0},
        "time_share": {"actor": {"play": 0.75, "send": 0.25}, "learner": {}},
        "parameters_sha256": {"agent_0": "hash 0 2", "agent_1": "hash 1 2"},
    }


def test_a_run_that_never_began_has_a_summary_too(run_record):
    summary = run_record.write_summary(K)
    assert (summary["finished"], summary["env_steps"], summary["iterations"]) == (False, 0, 0)
    assert summary["ledger"]["error"] == 0
    assert summary["parameters_sha256"] == {}


def test_the_slowest_learner_decides_how_far_the_run_is(run_record, directory):
    write_commit(directory, 0, version=2)
    write_commit(directory, 1, version=1)
    summary = run_record.write_summary(K)
    assert (summary["finished"], summary["env_steps"], summary["iterations"]) == (False, 50, 1)


def test_a_run_whose_end_was_not_evaluated_is_not_finished(run_record, directory):
    for agent in range(K):
        write_commit(directory, agent, version=2)
    run_record.note_result(1, 0, result([1, 1, 1]), 50)
    assert run_record.write_summary(K)["finished"] is False


def test_what_a_killed_actor_took_with_it_is_a_counted_loss(run_record, directory):
    for agent in range(K):
        write_commit(directory, agent, version=1)
    write_counters(directory, ACTOR, (1, 1))
    write_counters(directory, HEADLESS, (2, 1), clean=False)
    books = run_record.write_summary(K)["ledger"]
    assert (books["produced"], books["trained"]) == (5, 2)
    assert (books["lost"], books["error"]) == ({"actor_died": 3}, 0)


def test_a_trajectory_that_nothing_explains_is_an_error(run_record, directory):
    for agent in range(K):
        write_commit(directory, agent, version=1)
    write_counters(directory, ACTOR, (1, 2))
    assert run_record.write_summary(K)["ledger"]["error"] == 1


def test_what_a_damaged_commit_takes_with_it_is_a_counted_loss(run_record, directory):
    """Also when nobody noticed the damage before the run ended."""
    for agent in range(K):
        write_commit(directory, agent, version=1, sequence=1)
        write_commit(directory, agent, version=2, sequence=2)
    write_counters(directory, ACTOR, (2, 2))
    newest = checkpoint.commits(directory.checkpoints(1))[-1]
    (newest / "manifest.json").write_text("{")
    for _ in range(2):
        books = run_record.write_summary(K)["ledger"]
        assert (books["trained"], books["lost"], books["error"]) == (3, {"rolled_back": 1}, 0)


def test_a_learner_without_a_usable_commit_still_leaves_a_summary(run_record, directory):
    for agent in range(K):
        write_commit(directory, agent, version=1)
    (checkpoint.commits(directory.checkpoints(1))[0] / "manifest.json").write_text("{")
    summary = run_record.write_summary(K)
    assert list(summary["parameters_sha256"]) == ["agent_0"]
    assert (summary["finished"], summary["env_steps"]) == (False, 0)


def test_the_summary_is_plain_json(run_record, directory):
    write_commit(directory, 0, version=1)
    run_record.write_summary(K)
    assert json.loads(directory.summary.read_text())["ledger"]["lost"] == {}


# --- disks and crashes ---


def test_lines_wait_while_the_disk_is_full(run_record, directory, monkeypatch):
    refused = []

    def full(path, line):
        refused.append(line)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(record, "append_line", full)
    for version in (1, 2):
        run_record.note_learner(learner_beat(version=version))
    assert f"{directory.metrics} cannot be used: No space left" in run_record.degraded
    assert run_directory.read_lines(directory.metrics) == []
    monkeypatch.undo()
    run_record.note_learner(learner_beat(version=3))
    assert run_record.degraded == ""
    versions = [line["version"] for line in run_directory.read_lines(directory.metrics)]
    assert versions == [1, 2, 3]


def test_lines_that_wait_are_written_with_the_summary(run_record, directory):
    directory.metrics.mkdir()  # nothing can be appended to a folder
    run_record.note_learner(learner_beat(version=1))
    assert "Is a directory" in run_record.degraded
    directory.metrics.rmdir()
    run_record.write_summary(K)
    assert [line["version"] for line in run_directory.read_lines(directory.metrics)] == [1]


def test_only_so_many_lines_wait(run_record, directory, monkeypatch):
    monkeypatch.setattr(record, "_UNWRITTEN", 2)
    directory.metrics.mkdir()
    for version in (1, 2):
        run_record.note_learner(learner_beat(version=version))
    with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl.*2 lines wait"):
        run_record.note_learner(learner_beat(version=3))


def test_a_summary_that_cannot_be_written_is_one_sentence(run_record, directory):
    directory.summary.mkdir()
    with pytest.raises(RunDirectoryError, match=r"summary\.json.* cannot be used: Is a directory"):
        run_record.write_summary(K)
    assert [path.name for path in directory.root.glob(".*.tmp")] == []


@pytest.mark.parametrize(
    "torn", [b'{"agent": 0, "ver', b"\0\0\0\0", b'{"a": 1}\n\xff\xfe\n', b"17\n[]\n", b"\n\n"]
)
def test_what_a_crash_tore_is_taken_out_at_the_next_start(directory, torn):
    first = RunRecord.open(directory, CONFIG)
    first.note_learner(learner_beat(version=1))
    whole = directory.metrics.read_bytes()
    with directory.metrics.open("ab") as file:
        file.write(torn)
    again = RunRecord.open(directory, CONFIG)
    again.note_learner(learner_beat(version=1))
    again.note_learner(learner_beat(version=2))
    lines = directory.metrics.read_bytes().splitlines()
    assert lines[0] + b"\n" == whole
    assert all(isinstance(json.loads(line), dict) for line in lines)
    versions = [json.loads(line).get("version") for line in lines]
    assert [version for version in versions if version] == [1, 2]


def test_whole_files_are_left_alone(directory):
    first = RunRecord.open(directory, CONFIG)
    first.note_learner(learner_beat(version=1))
    before = directory.metrics.stat()
    RunRecord.open(directory, CONFIG)
    assert directory.metrics.stat().st_ino == before.st_ino


def test_restarts_that_the_last_head_did_not_hear_of_are_put_right(run_record, directory):
    run_record.restarts = {"actor": 1}
    run_record.write_summary(K)
    conclude(directory, CONFIG, K, {"actor": 3, "head": 2}, told=True)
    assert directory.read_summary()["restarts"] == {"actor": 3, "learner": 0, "head": 2}


def test_a_summary_that_no_head_could_write_is_written_at_the_end(run_record, directory):
    conclude(directory, CONFIG, K, {"actor": 3}, told=False)
    assert directory.read_summary()["restarts"] == {"actor": 3, "learner": 0}
