"""What this machine gives to this process: cores, memory, GPUs, and how busy it is.

Cores are those that affinity and control groups leave, not those that are built in. GPUs are
counted without torch, which a launcher must not wait for. Feeds `launch.placement` and the head of
every `dm2 bench`.
"""

import math
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

BUSY_FRACTION = 0.25
"""A load of so much of the cores, before we have begun, disturbs what is measured."""

_LIBRARIES = ("numpy", "torch", "numba", "pyzmq")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a run may use.

    Attributes:
        cpus: numbers of the CPUs that this process may run on.
        quota: CPUs' worth of time that its control groups allow; infinite without a limit.
        memory_bytes: physical memory, or the lower limit of its control groups.
        gpus: CUDA devices that its children would see.
        load: processes that wanted a CPU, on average over the last minute.
        processor: name of the CPU.
    """

    cpus: tuple[int, ...]
    quota: float
    memory_bytes: int
    gpus: int
    load: float
    processor: str

    @property
    def cores(self) -> int:
        """Processes that can compute at the same time without waiting for each other."""
        return max(1, min(len(self.cpus), math.floor(min(self.quota, 1e9))))

    @property
    def busy(self) -> bool:
        """Whether others use so much of the machine that figures taken now are too low."""
        return self.load > BUSY_FRACTION * self.cores


def inspect(root: Path = Path("/"), environment: Mapping[str, str] | None = None) -> Machine:
    """Look at the machine.

    Args:
        root: where `/proc`, `/sys` and `/dev` are.
        environment: variables of the process; its own unless given.
    """
    known = os.environ if environment is None else environment
    return Machine(
        cpus=_affinity(),
        quota=min(_quotas(root), default=math.inf),
        memory_bytes=min([_physical_memory(root), *_memory_limits(root)]),
        gpus=_gpus(root, known.get("CUDA_VISIBLE_DEVICES")),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
        processor=_processor(root),
    )


def describe(machine: Machine) -> dict[str, Any]:
    """Say on what figures were found, ready for JSON."""
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    facts: dict[str, Any] = {
        "processor": machine.processor,
        "cores": machine.cores,
        "quota_cores": machine.quota if math.isfinite(machine.quota) else None,
        "memory_bytes": machine.memory_bytes,
        "gpus": machine.gpus,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": round(machine.load, 2),
    }
    return facts | versions


def warnings(machine: Machine) -> list[str]:
    """What makes figures taken now doubtful; empty if nothing does."""
    if not machine.busy:
        return []
    return [
        f"the machine is busy: the load is {machine.load:.1f} on {_cores(machine.cores)} before "
        "anything is measured; ratios hold roughly, rates are too low; measure again when it is "
        "idle"
    ]


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _affinity() -> tuple[int, ...]:
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _quotas(root: Path) -> Iterator[float]:
    """CPUs' worth of time that each control group above this process allows."""
    for folder in _groups(root, "cpu"):
        words = _read(folder / "cpu.max").split()  # version 2: `QUOTA PERIOD`, or `max PERIOD`
        if not words:  # version 1
            words = _read(folder / "cpu.cfs_quota_us").split()
            words += _read(folder / "cpu.cfs_period_us").split()
        if len(words) == 2 and words[0].isdecimal() and int(words[1]):
            yield int(words[0]) / int(words[1])


def _memory_limits(root: Path) -> Iterator[int]:
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _read(folder / name).strip()
            if limit.isdecimal():
                yield int(limit)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control group and of all that hold it, of either version.

    A container may see its own group as the root, whatever path the kernel names: what is not there
    is passed over, and the root is always looked at.
    """
    mounts = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            top = mounts
        elif controller in names.split(","):
            top = mounts / names if (mounts / names).is_dir() else mounts / controller
        else:
            continue
        folder = top / path.lstrip("/")
        while folder != top and top in folder.parents:
            yield folder
            folder = folder.parent
        yield top


def _physical_memory(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gpus(root: Path, visible: str | None) -> int:
    """CUDA devices, as far as CUDA_VISIBLE_DEVICES shows them: it ends at the first wrong word."""
    there = len([path for path in (root / "dev").glob("nvidia*") if path.name[6:].isdecimal()])
    if visible is None:
        return there
    shown = 0
    for word in (word.strip() for word in visible.split(",")):
        by_number = word.isdecimal() and int(word) < there
        if not by_number and not word.startswith(("GPU-", "MIG-")):
            break
        shown += 1
    return min(shown, there)


def _processor(root: Path) -> str:
    for line in _read(root / "proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
