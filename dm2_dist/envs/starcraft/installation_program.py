"""Can this machine run the game's program: is it whole, of this architecture, with its libraries.

Reads the ELF header (64-bit, little-endian: the only kind that Linux builds of the game come in)
and the names of the glibc versions in the file; nothing is executed but `ldd`, with a deadline.
"""

import mmap
import os
import platform
import re
import shutil
import struct
import subprocess
from pathlib import Path

from dm2_dist.envs.starcraft import installation
from dm2_dist.envs.starcraft.installation_finding import Finding, fault, ok, warning

_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x03: "i686", 0x28: "armv7l"}
_SAME = {"amd64": "x86_64", "arm64": "aarch64"}
_LDD_SECONDS = 10.0
_AGAIN = "unpack the game again: the file was cut short or is not the Linux build"


def findings(root: Path, program: Path) -> list[Finding]:
    """Check the program of one version; it exists and may be executed.

    Args:
        root: folder of the game.
        program: the executable.
    """
    with program.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"#!"):
        return [_script(program)]
    wrong = _wrong_elf(head, program.stat().st_size)
    if wrong is not None:
        return [wrong]
    return [
        ok("program", f"{program.name}, {_machine(head)}"),
        _glibc(program),
        _ldd(root, program),
    ]


def _script(program: Path) -> Finding:
    if installation.is_stand_in(program):
        return warning(
            "program",
            "a stand-in for rehearsals: this is NOT StarCraft II",
            "set SC2PATH to the real game before you publish a number",
        )
    with program.open("rb") as file:
        words = file.readline(4096)[2:].decode(errors="replace").split()
    interpreter = Path(words[0]) if words else Path()
    if not words or not os.access(interpreter, os.X_OK):
        named = f"the interpreter {interpreter}" if words else "no interpreter"
        return fault(
            "program",
            f"{program} is a script of {named}, which cannot be run",
            "mend its first line, or unpack the game again",
        )
    return warning(
        "program",
        f"a script of {interpreter}, not the game's program itself",
        "check that it starts the game with the arguments that it was given",
    )


def _machine(head: bytes) -> str:
    code = int.from_bytes(head[18:20], "little")
    return _MACHINES.get(code, f"machine {code}")


def _wrong_elf(head: bytes, size: int) -> Finding | None:
    """What keeps the file from being a whole program of this machine."""
    if len(head) < 64 or not head.startswith(b"\x7fELF") or head[4:6] != b"\x02\x01":
        return fault("program", f"not a 64-bit Linux program ({size:,} bytes)", _AGAIN)
    program_table, section_table = struct.unpack_from("<QQ", head, 32)
    entry, count, section_entry, sections = struct.unpack_from("<HHHH", head, 54)
    end = max(program_table + entry * count, section_table + section_entry * sections)
    if end > size:
        return fault("program", f"cut short: {size:,} bytes of at least {end:,}", _AGAIN)
    here = platform.machine().lower()
    if _machine(head) != _SAME.get(here, here):
        return fault(
            "program",
            f"built for {_machine(head)}, but this machine is {here}",
            "StarCraft II runs on x86_64 only: run the actors on such a machine",
        )
    return None


def _glibc(program: Path) -> Finding:
    """The newest glibc that the program names, against this machine's."""
    name = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    here = tuple(int(part) for part in re.findall(r"\d+", name or "")[:2])
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        named = re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?:\.\d+)?(?=\0)", text)
    needed = max(((int(major), int(minor)) for major, minor in named), default=(0, 0))
    found = f"needs {_dotted(needed)}, here is {_dotted(here) if here else 'another C library'}"
    if not here or needed > here:
        return fault(
            "glibc", found, "use a newer distribution, or a container image of one, on this machine"
        )
    return ok("glibc", found if needed > (0, 0) else "the program names none")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _ldd(root: Path, program: Path) -> Finding:
    """Libraries that the loader does not find, asked of `ldd` if there is one."""
    if shutil.which("ldd") is None:
        return ok("libraries", "not looked at: this machine has no ldd")
    known = os.environ.get("LD_LIBRARY_PATH", "")
    search = os.pathsep.join(filter(None, [known, str(root / "Libs")]))
    try:
        done = subprocess.run(
            ["ldd", str(program)],
            env={**os.environ, "LD_LIBRARY_PATH": search},
            capture_output=True,
            text=True,
            timeout=_LDD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return warning(
            "libraries", f"ldd gave no answer in {_LDD_SECONDS:.0f} s", "run ldd on it by hand"
        )
    missing = re.findall(r"^\s*(\S+) => not found", done.stdout, re.MULTILINE)
    if missing:
        return fault(
            "libraries",
            f"missing: {', '.join(sorted(set(missing)))}",
            f"install the packages that hold them, or put the files into {root / 'Libs'}",
        )
    return ok("libraries", "all found")
