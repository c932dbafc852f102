"""The checks of the embedded simulator: its compiled code can be kept, and PyTorch is there.

Nothing heavy is imported: PyTorch takes a second, and compiling takes longer.
"""

import importlib.util
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dm2_dist.envs import skirmish
from dm2_dist.envs.starcraft.importing import version_of
from dm2_dist.envs.starcraft.installation_finding import Finding, fault, ok, warning


def findings(environ: Mapping[str, str]) -> list[Finding]:
    """Check what learners and simulator need.

    Args:
        environ: the environment variables to obey.
    """
    kernels = Path(skirmish.__file__).parent / "kernels"
    return [_library("torch"), _library("numba"), compiled_code(environ, kernels)]


def _library(name: str) -> Finding:
    if importlib.util.find_spec(name) is None:
        return fault(name, "missing", "install dm2-dist again, in an environment of its own")
    return ok(name, version_of(name))


def compiled_code(environ: Mapping[str, str], kernels: Path) -> Finding:
    """Whether machine code can be kept on disk: without, each process compiles for minutes.

    Args:
        environ: the environment variables to obey.
        kernels: folder of the functions that are compiled.
    """
    named = environ.get("NUMBA_CACHE_DIR", "")
    home = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "numba"
    places = [Path(named)] if named else [kernels / "__pycache__", home]
    for place in places:
        if _can_write(place):
            return ok("compiled code", f"kept in {place}")
    told = " or ".join(str(place) for place in places)
    mend = "set NUMBA_CACHE_DIR to a folder that can be written to"
    if environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return warning("compiled code", "switched off by NUMBA_DISABLE_JIT", "unset it")
    return fault("compiled code", f"cannot be kept in {told}", mend)


def _can_write(place: Path) -> bool:
    """Try it, as permissions alone do not tell (read-only mounts, quotas); leaves nothing."""
    there = next((folder for folder in (place, *place.parents) if folder.exists()), None)
    if there is None or not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return False
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False
