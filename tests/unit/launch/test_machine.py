"""What a machine gives to a process, read from trees of files such as the kernel makes."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launch import machine
from launch.machine import Machine

IDLE = Machine((0, 1, 2, 3), math.inf, 8 * 2**30, 0, 0.0, "a processor")


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


BARE = {
    "proc/meminfo": "MemTotal:       16000000 kB\nMemFree:        1 kB\n",
    "proc/cpuinfo": "processor : 0\nmodel name\t: Some CPU\n",
}
SECOND = BARE | {"proc/self/cgroup": "0::/box/job\n"}
FIRST = BARE | {"proc/self/cgroup": "5:memory:/box\n3:cpu,cpuacct:/box\n2:cpuset:/other\n0::/\n"}


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    found = machine.inspect(tree(tmp_path, BARE), {})
    assert found.quota == math.inf
    assert found.memory_bytes == 16_000_000 * 1024
    assert found.processor == "Some CPU"
    assert found.cpus == tuple(sorted(os.sched_getaffinity(0)))
    assert found.gpus == 0


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"sys/fs/cgroup/box/job/cpu.max": "150000 100000\n"}, 1.5),
        ({"sys/fs/cgroup/box/job/cpu.max": "max 100000\n"}, math.inf),
        (  # whoever holds the group may allow less
            {
                "sys/fs/cgroup/box/job/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/box/cpu.max": "200000 100000\n",
            },
            2.0,
        ),
        ({"sys/fs/cgroup/cpu.max": "100000 50000\n"}, 2.0),  # a container sees its own as the root
        ({"sys/fs/cgroup/other/cpu.max": "1000 100000\n"}, math.inf),
    ],
)
def test_the_quota_is_the_least_of_all_groups_above(tmp_path: Path, files, quota) -> None:
    assert machine.inspect(tree(tmp_path, SECOND | files), {}).quota == quota


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
@pytest.mark.parametrize("place", ["box/", ""])
def test_version_1_of_control_groups_is_read_too(tmp_path: Path, mount: str, place: str) -> None:
    files = {
        f"sys/fs/cgroup/{mount}/{place}cpu.cfs_quota_us": "300000\n",
        f"sys/fs/cgroup/{mount}/{place}cpu.cfs_period_us": "100000\n",
        f"sys/fs/cgroup/memory/{place}memory.limit_in_bytes": f"{2**30}\n",
    }
    found = machine.inspect(tree(tmp_path, FIRST | files), {})
    assert (found.quota, found.memory_bytes) == (3.0, 2**30)


def test_version_1_says_minus_one_where_there_is_no_quota(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712\n",
    }
    found = machine.inspect(tree(tmp_path, FIRST | files), {})
    assert (found.quota, found.memory_bytes) == (math.inf, 16_000_000 * 1024)


def test_memory_is_the_lower_of_what_is_there_and_what_is_allowed(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/box/memory.max": "1000000\n", "sys/fs/cgroup/memory.max": "max\n"}
    assert machine.inspect(tree(tmp_path, SECOND | files), {}).memory_bytes == 1_000_000


@pytest.mark.parametrize(
    ("visible", "count"),
    [(None, 3), ("", 0), ("-1", 0), ("1", 1), ("0,2", 2), ("0,7,1", 1), ("GPU-ab,GPU-cd", 2)],
)
def test_gpus_are_those_that_children_would_see(tmp_path: Path, visible, count: int) -> None:
    files = {f"dev/{name}": "" for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl")}
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert machine.inspect(tree(tmp_path, BARE | files), environment).gpus == count


@pytest.mark.parametrize(
    ("cpus", "quota", "cores"),
    [((0, 1, 2), math.inf, 3), ((0, 1, 2), 2.9, 2), ((5,), 8.0, 1), ((0, 1), 0.25, 1)],
)
def test_usable_cores_are_never_more_than_can_run(cpus, quota: float, cores: int) -> None:
    assert replace(IDLE, cpus=cpus, quota=quota).cores == cores


def test_a_process_that_may_use_one_cpu_has_one_core() -> None:
    cpu = min(os.sched_getaffinity(0))
    words = f"import os; os.sched_setaffinity(0, {{{cpu}}}); from launch import machine; "
    words += "import sys; print(machine.inspect().cores, 'torch' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", words]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_a_busy_machine_is_warned_of_and_an_idle_one_is_not() -> None:
    assert machine.warnings(IDLE) == []
    (said,) = machine.warnings(replace(IDLE, load=3.0))
    assert "3.0" in said
    assert "4 cores" in said


def test_the_description_fits_into_json_and_names_the_versions() -> None:
    found = machine.describe(IDLE)
    assert found["quota_cores"] is None
    assert found["cores"] == 4
    assert {"torch", "numpy", "processor", "load_average"} <= found.keys()
