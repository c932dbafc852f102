"""A commit that is cut off at any instruction, or by a power failure: the old one or the new one.

The operations on files are watched where Python calls the system. A forked child dies before the
n-th of them, for every n, or the n-th fails. For power failures, which no test can cause, the
operations are replayed on a model of a disk that forgets whatever was not flushed.
"""

import ast
import errno
import os
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm2_dist import checkpoint
from dm2_dist.comms.ledger import Verdict
from dm2_dist.comms.messages import Source
from dm2_dist.run_directory import write_atomically
from learners.journal import DiskError, Journal, Trained
from learners.publisher import Versions

ACTOR = Source(name="actor-0", incarnation=1)
BEFORE = 5
"""Iterations committed before the one that is cut off; enough that old commits are deleted."""
RETAINED = 4

# --- what is cut off ---


def trained(version):
    return Trained(
        version, 100 * version, b"state %d" % version * 99, b"snapshot %d" % version, "", {}
    )


def open_journal(folder, patience_seconds=0.0):
    journal = Journal(folder, Versions(0, folder, RETAINED), patience_seconds)
    commit = checkpoint.load_newest(folder)
    if commit is not None:
        journal.restore(commit)
    return journal


def train(journal, iteration):
    assert journal.book.receive(ACTOR, iteration, iteration, 0) is Verdict.ACCEPT
    return journal.commit(trained(iteration + 1), keep_from=iteration)


def commit_once_more(folder):
    train(open_journal(folder), BEFORE)


def replace_file(folder):
    write_atomically(folder / "summary.json", b"new" * 99)


def check_journal(folder, *, done):
    """A restart finds a whole commit, all it names, and books that say so; and goes on."""
    journal = open_journal(folder)
    assert journal.version in ((BEFORE + 1,) if done else (BEFORE, BEFORE + 1))
    assert checkpoint.load_newest(folder).skipped == 0
    assert journal.newest.state == trained(journal.version).state
    for iteration in range(journal.version):
        assert journal.book.outcome(ACTOR, iteration) == "trained"
    for version in range(journal.version - RETAINED + 1, journal.version + 1):
        assert checkpoint.load_parameters(folder, version) == b"snapshot %d" % version
    assert journal.versions.newest == journal.version
    if journal.version == BEFORE:
        train(journal, BEFORE)
    train(journal, BEFORE + 1)
    assert open_journal(folder).version == BEFORE + 2
    left = {path.name for path in folder.rglob(".*")}
    assert left == set(), "drafts are left behind"


def check_file(folder, *, done):
    found = (folder / "summary.json").read_bytes()
    assert found in ((b"new" * 99,) if done else (b"old", b"new" * 99))


SCENES = [(commit_once_more, check_journal), (replace_file, check_file)]


@pytest.fixture
def before(tmp_path):
    """A folder with commits, versions and a file."""
    folder = tmp_path / "agent_0"
    journal = open_journal(folder)
    journal.commit(trained(0), keep_from=0)
    for iteration in range(BEFORE):
        train(journal, iteration)
    write_atomically(folder / "summary.json", b"old")
    return folder


# --- watching ---


@dataclass
class Watch:
    """Calls `on` before every operation on a file below `root`, with its name and arguments."""

    root: Path
    on: object
    active: bool = False

    def begin(self):
        write, fsync = os.write, os.fsync

        def watched_write(descriptor, data):
            self.saw("write", descriptor_path(descriptor), bytes(data))
            return write(descriptor, data)

        def watched_fsync(descriptor):
            self.saw("fsync", descriptor_path(descriptor))
            return fsync(descriptor)

        os.write, os.fsync = watched_write, watched_fsync
        sys.addaudithook(self.hook)
        self.active = True

    def hook(self, event, arguments):
        if not self.active:
            return
        if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            self.saw("create", os.fsdecode(arguments[0]))
        elif event == "os.rename":
            self.saw("rename", *map(os.fsdecode, arguments[:2]))
        elif event in ("os.mkdir", "os.remove", "os.rmdir"):
            name, folder = os.fsdecode(arguments[0]), arguments[-1]
            path = name if folder == -1 else os.path.join(descriptor_path(folder), name)
            self.saw(event.removeprefix("os."), path)

    def saw(self, name, path, *rest):
        if self.active and path.startswith(str(self.root)):
            self.active = False
            try:
                self.on(name, path, *rest)
            finally:
                self.active = True


def descriptor_path(descriptor):
    return os.readlink(f"/proc/self/fd/{descriptor}")


def in_child(work):
    """Run in a forked child; its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except DiskError:
            code = 3
        except OSError:
            code = 4
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# --- killed, and failing ---


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize(("act", "check"), SCENES)
def test_killed_at_any_operation_there_is_the_old_or_the_new(before, tmp_path, act, check, torn):
    deaths = 0
    for number in range(1, 200):
        folder = tmp_path / f"copy-{number}"
        shutil.copytree(before, folder)
        left = [number]

        def die(name, path, *rest, left=left):
            left[0] -= 1
            if left[0] == 0:
                if torn and name == "write":
                    with Path(path).open("ab") as file:
                        file.write(rest[0][: len(rest[0]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)

        code = in_child(lambda folder=folder, die=die: (Watch(folder, die).begin(), act(folder)))
        check(folder, done=code == 0)
        shutil.rmtree(folder)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        deaths += 1
    assert deaths >= {commit_once_more: 20, replace_file: 4}[act]


@pytest.mark.parametrize("number_of_error", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize(("act", "check"), SCENES)
def test_failing_at_any_operation_there_is_the_old_or_the_new(
    before, tmp_path, act, check, number_of_error
):
    codes = set()
    for number in range(1, 200):
        folder = tmp_path / f"copy-{number}"
        shutil.copytree(before, folder)
        count = [0]

        def fail(name, path, *_, number=number, count=count):
            count[0] += 1
            if count[0] >= number:  # from now on: nor can anything be cleaned up
                raise OSError(number_of_error, os.strerror(number_of_error), path)

        code = in_child(lambda folder=folder, fail=fail: (Watch(folder, fail).begin(), act(folder)))
        codes.add(code)
        check(folder, done=code == 0)
        shutil.rmtree(folder)
        if code == 0:
            break
    assert codes == ({0, 3} if act is commit_once_more else {0, 4})


# --- power failures ---


@dataclass
class Disk:
    """Files and folders as inodes: what is surely there, and what may be after a power failure."""

    contents: dict[int, list[bytes]] = field(default_factory=dict)
    """inode -> the bytes it may hold, the surest first; a folder is not in here."""
    entries: dict[int, dict[str, int]] = field(default_factory=dict)
    changes: dict[int, list[tuple[dict[str, int | None], ...]]] = field(default_factory=dict)
    """folder -> changes of its entries that have not been flushed, oldest first."""
    root: int = 0

    @classmethod
    def of(cls, folder):
        disk = cls(entries={0: {}})
        disk.take(folder, 0)
        return disk

    def take(self, folder, inode):
        for path in sorted(folder.iterdir()):
            new = self.entries[inode][path.name] = self.fresh()
            if path.is_dir():
                self.entries[new] = {}
                self.take(path, new)
            else:
                self.contents[new] = [path.read_bytes()]

    def fresh(self):
        return 1 + max([0, *self.contents, *self.entries])

    def live(self, folder):
        """The entries of a folder as a running process sees them."""
        found = dict(self.entries[folder])
        for change in self.changes.get(folder, ()):
            apply(found, change)
        return found

    def find(self, parts):
        inode = self.root
        for part in parts:
            inode = self.live(inode)[part]
        return inode

    def change(self, folder, **names):
        self.changes.setdefault(folder, []).append(names)

    def operate(self, name, path, *rest):
        *above, last = path or ("",)
        parent = self.find(above)
        match name:
            case "create":
                inode = self.live(parent).get(last)
                if inode is None:
                    inode = self.fresh()
                    self.change(parent, **{last: inode})
                self.contents[inode] = [*self.contents.get(inode, []), b""]
            case "mkdir" if not path or last in self.live(parent):
                pass  # it is there already
            case "mkdir":
                inode = self.fresh()
                self.entries[inode] = {}
                self.change(parent, **{last: inode})
            case "write":
                held = self.contents[self.find(path)]
                held += [held[-1] + rest[0][: len(rest[0]) // 2], held[-1] + rest[0]]
            case "fsync":
                inode = self.find(path)
                if inode in self.entries:
                    self.entries[inode] = self.live(inode)
                    self.changes[inode] = []
                else:
                    self.contents[inode] = self.contents[inode][-1:]
            case "rename":
                *_, new = rest[0]
                assert list(rest[0][:-1]) == above, "within one folder"
                self.change(parent, **{last: None, new: self.live(parent)[last]})
            case "remove" | "rmdir":
                self.change(parent, **{last: None})

    def fail(self, choose):
        """Forget: of every folder the newest changes, of every file what was not flushed."""
        for folder, changes in self.changes.items():
            for change in changes[: choose(len(changes) + 1)]:
                apply(self.entries[folder], change)
        self.contents = {i: [held[choose(len(held))]] for i, held in self.contents.items()}

    def materialise(self, folder, inode=0):
        folder.mkdir()
        for name, child in self.entries[inode].items():
            if child in self.entries:
                self.materialise(folder / name, child)
            else:
                (folder / name).write_bytes(self.contents[child][0])


def apply(entries, change):
    for name, inode in change.items():
        entries.pop(name, None)
        if inode is not None:
            entries[name] = inode


@pytest.mark.parametrize(("act", "check"), SCENES)
def test_a_power_failure_at_any_moment_leaves_the_old_or_the_new(before, tmp_path, act, check):
    operations = record(before, tmp_path / "recorded", act)
    assert len(operations) >= 5
    examples = iter(range(10_000))

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.integers(0, len(operations)), st.data())
    def fails(moment, data):
        disk = Disk.of(before)
        for operation in operations[:moment]:
            disk.operate(*operation)
        disk.fail(lambda number: data.draw(st.integers(0, number - 1)) if number > 1 else 0)
        folder = tmp_path / f"after-{next(examples)}"
        disk.materialise(folder)
        check(folder, done=moment == len(operations))
        shutil.rmtree(folder)

    fails()


def record(before, folder, act):
    """The operations of one undisturbed commit, with paths as parts below the folder."""
    shutil.copytree(before, folder)
    read, write = os.pipe()

    def note(name, path, *rest):
        parts = [Path(path).relative_to(folder).parts]
        parts += [Path(r).relative_to(folder).parts if isinstance(r, str) else r for r in rest]
        found.append((name, *parts))

    found: list = []

    def work():
        Watch(folder, note).begin()
        act(folder)
        os.writev(write, [repr(found).encode()])

    assert in_child(work) == 0
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        return ast.literal_eval(pipe.read().decode())
