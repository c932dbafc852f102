"""However a run ends, nothing of it stays behind: no process, temp file, socket, lock or draft."""

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launch import host
from tests.chaos import soak

ROOT = Path(__file__).resolve().parents[2]
MARK = "DM2_TEST_LEFTOVERS"
SMALL = [
    *("--map", "3m", "--seed", "7", "--plain", "--metrics-port", "0", "--actors", "2"),
    *("--collection.episodes-per-iteration", "8", "--collection.episodes-per-ticket", "4"),
    *("--imitation.episodes-per-step", "8", "--evaluation.episodes", "4", "--ppo.epochs", "2"),
]
SHORT = ["--max-env-steps", "1000"]
ENDLESS = ["--max-env-steps", "10000000"]

pytestmark = pytest.mark.chaos


class Place:
    """A run directory, a temporary directory of its own, and a mark to know every process by.

    A child's environment cannot be taken away from it: whoever carries the mark belongs to us,
    also when its parent is gone.
    """

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.run, self.temporary = folder / "run", temporary
        self.output = folder / "output"
        self.mark = secrets.token_hex(16)
        self.launcher: subprocess.Popen[bytes] | None = None

    def start(self, *words: str, command: str = "local") -> subprocess.Popen[bytes]:
        """Start a command of ours in a session of its own."""
        where = ["--run-dir", str(self.run), *SMALL] if command == "local" else []
        environment = dict(os.environ)
        environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
        environment |= {MARK: self.mark, "TMPDIR": str(self.temporary)}
        with self.output.open("a") as output:
            self.launcher = subprocess.Popen(
                [sys.executable, "-m", "launch.cli", command, *where, *words],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.launcher

    def wait(self) -> int:
        """Wait for the launcher, looking at its children meanwhile."""
        assert self.launcher is not None
        deadline = time.monotonic() + 100
        while self.launcher.poll() is None:
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)
        return self.launcher.returncode

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something the run must do."""
        assert self.launcher is not None
        deadline = time.monotonic() + 100
        while not condition():
            assert self.launcher.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)

    def iterations(self) -> int:
        """Iterations committed by the learner that is furthest behind."""
        newest = [path.read_text() for path in (self.run / "logs").glob("learner-*.log")]
        versions = [re.findall(r"committed version=(\d+)", text) for text in newest]
        return min((int(found[-1]) if found else 0 for found in versions), default=0)

    def pid_of(self, name: str) -> int:
        """The newest process of a role."""
        text = (self.run / "logs/launcher.log").read_text()
        return int(re.findall(rf"started name={name} pid=(\d+)", text)[-1])

    def processes(self) -> dict[int, str]:
        """Living processes that carry our mark, with their command lines."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (path / "environ").read_bytes():
                    found[int(path.name)] = (path / "cmdline").read_bytes().decode()[:300]
            except OSError:
                continue  # gone, or somebody else's
        return found

    def summary(self) -> dict:
        """What the last end wrote."""
        return json.loads((self.run / "summary.json").read_text())

    def text(self) -> str:
        """The end of what was printed."""
        return self.output.read_text()[-3000:]

    def leftovers(self) -> list[str]:
        """What is still there after the end; children of a killed launcher get a moment to go."""
        deadline = time.monotonic() + 20
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        found = [f"process {pid} {words}" for pid, words in self.processes().items()]
        found += [f"temporary {path.name}" for path in self.temporary.iterdir()]
        sockets = Path("/proc/net/unix").read_text().splitlines()
        found += [f"socket {line}" for line in sockets if str(self.temporary) in line]
        if (self.run / "run.lock").exists() and not is_free(self.run / "run.lock"):
            found.append("run.lock is held")
        return found

    def end(self) -> None:
        """Kill whoever is left; only processes that carry our mark."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.launcher is not None:
            self.launcher.wait()


def drafts(folder: Path) -> list[Path]:
    """Files that were being written when somebody died."""
    names = re.compile(r"\..+\.tmp|\.draft-.*|.+\.new")
    return [path for path in folder.rglob("*") if names.fullmatch(path.name)]


def is_free(path: Path) -> bool:
    """Nobody holds this lock."""
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def shared_memory_of(pid: int) -> list[str]:
    """Files in shared memory that a process has mapped."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return []
    return [line for line in lines if "/dev/shm/" in line]


def is_zombie(pid: int) -> bool:
    """It has ended, and its parent has not asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # Short, for the sockets: pytest's own folders have long names.
    temporary = Path(tempfile.mkdtemp(prefix="left-"))
    made = Place(tmp_path, temporary)
    yield made
    made.end()
    shutil.rmtree(temporary)


def test_a_killed_launcher_leaves_what_the_next_start_removes(place: Place) -> None:
    place.start(*ENDLESS)
    place.until(lambda: place.iterations() >= 1)
    assert not [line for pid in place.processes() for line in shared_memory_of(pid)]
    os.kill(place.launcher.pid, signal.SIGKILL)
    place.wait()
    assert [re.sub("-.*", "", left) for left in place.leftovers()] == ["temporary dm2"]
    abandoned, half_done = list(place.temporary.iterdir()), drafts(place.run)
    place.start("--resume", *ENDLESS)
    reached = place.iterations()
    place.until(lambda: place.iterations() > reached)
    assert not [path for path in [*abandoned, *half_done] if path.exists()]
    assert len(list(place.temporary.iterdir())) == 1
    place.launcher.send_signal(signal.SIGINT)
    place.until(lambda: "once more to stop at once" in place.text())
    place.launcher.send_signal(signal.SIGINT)
    assert place.wait() == 130, place.text()
    assert "Traceback" not in place.text()
    assert place.leftovers() == []


def test_refused_arguments_leave_nothing(place: Place) -> None:
    for words, code in (
        (["--actors", "0"], 2),
        (["--algorithm", "dm2"], 2),
        (["--max-env-steps", "many"], 2),
        (["--resume"], 1),
    ):
        place.start(*words)
        assert place.wait() == code, place.text()
    assert place.leftovers() == []
    assert not place.run.exists()


def end_it(place: Place) -> int:
    place.launcher.send_signal(signal.SIGTERM)
    return place.wait()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_end_leaves_nothing(place: Place, number: int) -> None:
    place.start(*ENDLESS)
    place.until(lambda: place.iterations() >= 1)
    place.launcher.send_signal(number)
    assert place.wait() == 130, place.text()
    assert place.leftovers() == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_run_that_is_done_leaves_nothing(place: Place) -> None:
    place.start(*SHORT)
    assert place.wait() == 0, place.text()
    assert place.leftovers() == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_restarts_leave_no_zombie_and_no_descriptor(place: Place) -> None:
    place.start(*ENDLESS)
    place.until(lambda: place.iterations() >= 1)
    watched = {"launcher": place.launcher.pid, "head": place.pid_of("head-0")}
    watched |= {"actor": place.pid_of("actor-1"), "learner": place.pid_of("learner-2")}
    before = {}
    for victim in ("actor-0", "learner-0", "actor-0", "learner-0", "actor-0"):
        old = place.pid_of(victim)
        os.kill(old, signal.SIGKILL)
        place.until(lambda: place.pid_of(victim) != old)  # noqa: B023 (called at once)
        reached = place.iterations()
        place.until(lambda: place.iterations() > reached + 2)  # noqa: B023
        counts = {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in watched.items()}
        before = before or counts
    assert all(counts[name] <= before[name] + 2 for name in watched), (before, counts)
    assert not [pid for pid in place.processes() if is_zombie(pid)]
    assert end_it(place) == 130, place.text()
    assert place.leftovers() == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_killed_head_leaves_nothing(place: Place) -> None:
    place.start(*ENDLESS)
    place.until(lambda: place.iterations() >= 1)
    old = place.pid_of("head-0")
    os.kill(old, signal.SIGKILL)
    place.until(lambda: place.pid_of("head-0") != old)
    reached = place.iterations()
    place.until(lambda: place.iterations() > reached + 2)
    assert end_it(place) == 130, place.text()
    assert place.leftovers() == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_role_that_cannot_go_on_leaves_nothing(place: Place) -> None:
    place.start(*SHORT)
    assert place.wait() == 0, place.text()
    for commit in (place.run / "checkpoints/agent_2").glob("commit-*"):
        (commit / "manifest.json").write_text("{}")
    place.start("--resume", *ENDLESS)
    assert place.wait() == 1, place.text()
    assert "learner-2 cannot go on" in place.text()
    assert place.leftovers() == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_evaluate_record_and_bench_leave_nothing(place: Place, tmp_path: Path) -> None:
    place.start(*SHORT)
    assert place.wait() == 0, place.text()
    run, output = str(place.run), str(tmp_path / "demonstrations")
    for command, *words in (
        ["evaluate", run, "--episodes", "8"],
        ["record", run, "--episodes", "8", "--output", output],
        ["record", run, "--episodes", "8", "--output", output],  # refused: it is there
        ["bench", "transport", "--seconds", "0.2"],
    ):
        place.start(*words, command=command)
        place.wait()
        assert "Traceback" not in place.text()
        assert place.leftovers() == [], (command, place.text())


def test_only_folders_whose_launcher_is_gone_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("dm2-abandon1", "dm2-nolock11", "dm2-game-abcdefgh", "dm2-ports-0", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "dm2-empty123").mkdir()
    for name in ("dm2-abandon1", "dm2-game-abcdefgh", "other"):
        (tmp_path / name / "launcher.lock").touch()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "launcher.lock").touch()
    (tmp_path / "dm2-symlink1").symlink_to(precious)
    with host.sockets_folder() as living:
        with host.sockets_folder() as another:
            assert living.exists()
            assert another != living
        assert not another.exists()
        assert (living / "launcher.lock").exists()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        *("dm2-nolock11", "dm2-game-abcdefgh", "dm2-ports-0", "other", "precious", "dm2-symlink1")
    }
    assert (precious / "launcher.lock").exists()


STARTS = """
import sys, tempfile
from pathlib import Path
from launch import host
from tests.chaos import soak
tempfile.tempdir = sys.argv[1]
for _ in range(200):
    with host.sockets_folder() as folder:
        (folder / "head").touch()
        assert (folder / "head").exists() and (folder / "launcher.lock").exists()
"""


def test_launchers_that_start_together_leave_each_other_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS, str(tmp_path)]
    starters = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]
    complaints = [starter.communicate(timeout=60)[1].decode() for starter in starters]
    assert complaints == ["", "", ""]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.chaos_soak
@pytest.mark.timeout(1500)
def test_memory_and_descriptors_stay_flat_for_twenty_minutes(place: Place) -> None:
    """Actors and learners are killed now and then; the others must not grow, nor the launcher."""
    place.start("--preset", "quickstart", "--actors", "4", *ENDLESS)
    place.until(lambda: place.iterations() >= 1)
    watched = {"launcher": place.launcher.pid, "head": place.pid_of("head-0")}
    watched |= {f"actor-{index}": place.pid_of(f"actor-{index}") for index in range(3)}
    watched |= {f"learner-{agent}": place.pid_of(f"learner-{agent}") for agent in range(2)}
    samples = soak.watch(
        watched, 1200.0, lambda: soak.kill(place.pid_of("actor-3"), place.pid_of("learner-2"))
    )
    print(soak.table(samples))
    for name, seen in samples.items():
        assert soak.growth(seen) < soak.MEGABYTES_PER_HOUR, (name, soak.table(samples))
        assert seen[-1].descriptors <= seen[0].descriptors + 4, (name, soak.table(samples))
    assert not [pid for pid in place.processes() if is_zombie(pid)]
    assert end_it(place) == 130, place.text()
    assert place.leftovers() == []
