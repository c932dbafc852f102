"""The journal of one agent against real files; a restart is a new journal on the same folder."""

import errno
import os
import shutil

import pytest

from dm2_dist import checkpoint
from dm2_dist.comms.ledger import Counters, Settlement, Verdict, close
from dm2_dist.comms.messages import Source
from dm2_dist.comms.refusal import Reason
from learners.journal import DiskError, Journal, Trained
from learners.publisher import Versions

ACTOR = Source(name="actor-0", incarnation=1)
PER_ITERATION = 2


def trained(version):
    return Trained(
        version=version,
        env_steps=100 * version,
        state=b"state %d" % version,
        snapshot=b"snapshot %d" % version,
        parameters_sha256=f"hash {version}",
        metrics={"loss": 1.0 / (version + 1)},
    )


def open_journal(folder):
    """What a learner does at its start."""
    journal = Journal(folder, Versions(agent=0, folder=folder, retained=4))
    commit = checkpoint.load_newest(folder)
    if commit is not None:
        journal.restore(commit)
    return journal


def train(journal, iteration, keep_from=0):
    """Receive all tickets of an iteration from one actor and commit it."""
    for index in range(PER_ITERATION):
        sequence = iteration * PER_ITERATION + index
        verdict = journal.book.receive(ACTOR, sequence, iteration, index)
        assert verdict is Verdict.ACCEPT
    return journal.commit(trained(iteration + 1), keep_from)


def damage_newest(folder):
    (checkpoint.commits(folder)[-1] / "manifest.json").write_text("{")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "agent_0"


@pytest.fixture
def journal(folder):
    """A journal with the untrained networks committed."""
    journal = open_journal(folder)
    assert journal.commit(trained(0), keep_from=0) == []
    return journal


def test_there_is_no_version_before_the_first_commit(folder):
    assert open_journal(folder).version == -1
    assert open_journal(folder).newest is None


def test_the_untrained_networks_are_version_zero(journal, folder):
    assert journal.version == 0
    assert open_journal(folder).version == 0
    assert checkpoint.load_parameters(folder, 0) == b"snapshot 0"


def test_a_commit_settles_its_iteration_as_trained(journal):
    assert train(journal, 0) == [Settlement(ACTOR, 0, "trained"), Settlement(ACTOR, 1, "trained")]
    assert journal.version == 1


def test_a_restart_goes_on_where_the_newest_commit_left_off(journal, folder):
    for iteration in range(3):
        train(journal, iteration)
    again = open_journal(folder)
    assert (again.version, again.newest.env_steps) == (3, 300)
    assert (again.newest.state, again.newest.parameters_sha256) == (b"state 3", "hash 3")
    assert again.versions.env_steps == journal.versions.env_steps
    assert again.book.account().trained == 3 * PER_ITERATION
    assert again.book.receive(ACTOR, 5, 2, 1) is Verdict.SETTLED
    train(again, 3)
    assert open_journal(folder).version == 4


def test_what_was_received_but_not_committed_is_forgotten_and_taken_again(journal, folder):
    assert journal.book.receive(ACTOR, 0, 0, 0) is Verdict.ACCEPT
    again = open_journal(folder)
    assert again.book.buffered() == {}
    assert again.book.receive(ACTOR, 0, 0, 0) is Verdict.ACCEPT


def test_a_learner_killed_before_the_commit_is_renamed_trains_the_iteration_again(journal, folder):
    """The parameters are on disk already, but no commit names them."""
    checkpoint.save_parameters(folder, 1, b"snapshot of a life that ended")
    again = open_journal(folder)
    assert again.version == 0
    assert again.versions.newest == 0
    train(again, 0)
    assert checkpoint.load_parameters(folder, 1) == b"snapshot 1"
    assert open_journal(folder).versions.newest == 1


def test_drops_are_put_on_disk_without_an_iteration(journal, folder):
    journal.book.receive(ACTOR, 0, 0, 0)
    journal.book.drop(ACTOR, 0, Reason.SCHEMA)
    assert journal.commit_drops() == [Settlement(ACTOR, 0, "schema")]
    again = open_journal(folder)
    assert again.book.receive(ACTOR, 0, 0, 0) is Verdict.SETTLED
    assert again.book.outcome(ACTOR, 0) == "schema"
    assert again.version == 0


def test_no_drops_no_commit(journal, folder):
    before = checkpoint.commits(folder)
    assert journal.commit_drops() == []
    assert checkpoint.commits(folder) == before


def test_old_versions_are_pruned_in_memory_and_on_disk(journal, folder):
    for iteration in range(8):
        train(journal, iteration, keep_from=iteration)
    kept = sorted(journal.versions.env_steps)
    assert kept == checkpoint.parameter_versions(folder) == [5, 6, 7, 8]
    assert len(checkpoint.commits(folder)) == 3
    assert sorted(open_journal(folder).versions.env_steps) == kept


def test_versions_that_open_tickets_need_are_kept_however_old(journal, folder):
    for iteration in range(8):
        train(journal, iteration, keep_from=2)
    assert checkpoint.parameter_versions(folder) == [2, 3, 4, 5, 6, 7, 8]


def test_a_damaged_commit_throws_back_by_one_version_and_the_run_goes_on(journal, folder):
    for iteration in range(4):
        train(journal, iteration)
    damage_newest(folder)
    again = open_journal(folder)
    assert again.version == 3
    assert again.versions.newest == 3
    assert again.book.receive(ACTOR, 6, 3, 0) is Verdict.ACCEPT
    assert again.book.receive(ACTOR, 7, 3, 1) is Verdict.ACCEPT
    again.commit(trained(4), keep_from=0)
    final = open_journal(folder)
    assert (final.version, final.book.rolled_back) == (4, True)


@pytest.mark.parametrize("restarts", [1, 3])
def test_a_rollback_is_not_forgotten_by_dying_again_before_the_next_commit(
    journal, folder, restarts
):
    """Otherwise what was settled and is not trained would be an error in the books."""
    for iteration in range(2):
        train(journal, iteration)
    damage_newest(folder)
    for _ in range(restarts):
        again = open_journal(folder)
        assert again.book.rolled_back
    produced = 2 * PER_ITERATION
    counters = Counters(ACTOR, (produced,), (produced,), closed=True)
    totals = close([counters], {0: again.book})
    assert (totals.trained, totals.lost, totals.error) == (2, {"rolled_back": 2}, 0)


def test_commits_after_a_rollback_are_newer_than_the_damaged_one(journal, folder):
    for iteration in range(2):
        train(journal, iteration)
    damage_newest(folder)
    again = open_journal(folder)
    again.book.receive(ACTOR, 2, 1, 0)
    again.book.drop(ACTOR, 2, Reason.SCHEMA)
    again.commit_drops()
    assert open_journal(folder).book.receive(ACTOR, 2, 1, 0) is Verdict.SETTLED


def test_lost_parameter_files_cost_those_versions_only(journal, folder):
    for iteration in range(2):
        train(journal, iteration)
    shutil.rmtree(folder / "parameters")
    again = open_journal(folder)
    assert again.version == 2
    assert again.versions.newest == -1
    train(again, 2)
    assert again.versions.newest == 3


# --- a disk that does not take it ---


class Disk:
    """The real disk, which refuses to rename a commit so many times."""

    def __init__(self, monkeypatch, number, refusals):
        self.refusals = refusals
        self._rename, self._number = os.rename, number
        monkeypatch.setattr(os, "rename", self.rename)

    def rename(self, source, target):
        if "commit-" in str(target) and self.refusals:
            self.refusals -= 1
            raise OSError(self._number, os.strerror(self._number), str(target))
        self._rename(source, target)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_is_full_for_a_while_is_waited_for(journal, folder, monkeypatch, number):
    said = []
    journal.degraded = said.append
    Disk(monkeypatch, number, refusals=2)
    assert len(train(journal, 0)) == PER_ITERATION
    assert len(said) == 3
    for sentence in said[:2]:
        assert os.strerror(number) in sentence
        assert str(folder) in sentence
    assert said[2] == ""
    again = open_journal(folder)
    assert (again.version, again.book.account().trained) == (1, PER_ITERATION)
    train(journal, 1)
    assert open_journal(folder).version == 2


def test_a_disk_that_stays_full_is_given_up_and_nothing_is_settled(folder, monkeypatch):
    journal = Journal(folder, Versions(agent=0, folder=folder, retained=4), patience_seconds=0.3)
    journal.commit(trained(0), keep_from=0)
    Disk(monkeypatch, errno.ENOSPC, refusals=10**6)
    with pytest.raises(
        DiskError, match=rf"{folder}.*No space left.*free some space \(waited 0 s\)"
    ):
        train(journal, 0)
    again = open_journal(folder)
    assert again.version == 0
    assert again.book.receive(ACTOR, 0, 0, 0) is Verdict.ACCEPT


def test_a_disk_that_became_read_only_is_given_up_at_once(journal, folder, monkeypatch):
    Disk(monkeypatch, errno.EROFS, refusals=1)
    with pytest.raises(DiskError, match=r"Read-only file system; mount it writable"):
        train(journal, 0)
    assert open_journal(folder).version == 0


def test_a_run_directory_that_vanished_is_not_made_anew(journal, folder):
    shutil.rmtree(folder)
    with pytest.raises(DiskError, match=rf"{folder} cannot be used: No such file .* bring the run"):
        train(journal, 0)
    assert not folder.exists()


def test_drafts_of_a_killed_learner_go_at_the_next_start(journal, folder):
    train(journal, 0)
    (folder / ".draft-00000009").mkdir()
    (folder / "parameters" / ".00000002.safetensors.123.tmp").write_bytes(b"ha")
    again = open_journal(folder)
    assert again.version == 1
    assert list(folder.rglob(".*")) == []
