"""The checks of the code that talks to the game: SMAC, PySC2 and protobuf, imported in a process.

The import is tried where it will happen, in a process of its own, so that nothing of it stays in
the doctor's.
"""

import json
import os
import site
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dm2_dist
from dm2_dist.envs.starcraft import importing
from dm2_dist.envs.starcraft.importing import StarcraftImportError
from dm2_dist.envs.starcraft.installation_finding import (
    Finding,
    fault,
    from_sentence,
    ok,
    warning,
)

_IMPORT_SECONDS = 60.0
_PROBE = "from dm2_dist.envs.starcraft import installation_client as probe; probe.tell()"


def findings(
    environ: Mapping[str, str], map_name: str, interpreter: str = sys.executable
) -> list[Finding]:
    """Check that a worker could import the client code, and that SMAC knows the map.

    Args:
        environ: the environment variables that a worker would have.
        map_name: SMAC's name of the map.
        interpreter: the Python of the workers.
    """
    try:
        folder = importing.locate(environ)
    except StarcraftImportError as error:
        return [from_sentence("smac", str(error))]
    told = [ok("smac", str(folder))]
    answer = _ask(environ, interpreter)
    if "error" in answer:
        check = "protobuf" if answer["error"].startswith("protobuf") else "pysc2"
        return [*told, from_sentence(check, answer["error"])]
    told.append(ok("pysc2", f"{answer['module']}, imported in {answer['seconds']:.1f} s"))
    told.append(_backend(answer["backend"], answer["protobuf"]))
    if map_name not in answer["maps"]:
        known = ", ".join(answer["maps"])
        told.append(fault("map", f"SMAC has no map {map_name!r}", f"choose one of {known}"))
    return told


def _backend(backend: str, version: str) -> Finding:
    if backend != "python":
        return ok("protobuf", f"{version}, compiled parser ({backend})")
    return warning(
        "protobuf",
        f"{version} parses in pure Python, many times slower",
        "unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION and install dm2-dist with the extra [sc2] in "
        "an environment without the package s2clientprotocol",
    )


def with_our_code(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for a fresh process that imports `dm2_dist`.

    Args:
        environ: what they start from.
    """
    ours = str(Path(dm2_dist.__file__).parent.parent)
    known = environ.get("PYTHONPATH", "")
    # NOTE: a site-packages folder on PYTHONPATH would come before the standard library, and PySC2
    # brings a module `enum` along.
    if ours in [*known.split(os.pathsep), *site.getsitepackages()]:
        return dict(environ)
    return {**environ, "PYTHONPATH": os.pathsep.join(filter(None, [known, ours]))}


def _ask(environ: Mapping[str, str], interpreter: str) -> dict[str, Any]:
    """Import in a fresh process; what it found, or `error` with one sentence."""
    try:
        done = subprocess.run(
            [interpreter, "-P", "-c", _PROBE],  # as workers are started
            env=with_our_code(environ),
            capture_output=True,
            text=True,
            timeout=_IMPORT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": f"PySC2 could not be tried ({error}); {importing.PYSC2_MEND}"}
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"error": f"PySC2 does not import ({last}); {importing.PYSC2_MEND}"}
    return answer


def tell() -> None:
    """Print as JSON what can be imported here; run in a process of its own."""
    start = time.monotonic()
    try:
        importing.load()
    except StarcraftImportError as error:
        print(json.dumps({"error": str(error)}))
        return
    import pysc2
    from google.protobuf.internal import api_implementation
    from smac.env.starcraft2.maps import smac_maps

    answer = {
        "module": pysc2.__name__,
        "backend": api_implementation.Type(),
        "protobuf": importing.version_of("protobuf"),
        "maps": sorted(smac_maps.get_smac_map_registry()),
        "seconds": time.monotonic() - start,
    }
    print(json.dumps(answer))
