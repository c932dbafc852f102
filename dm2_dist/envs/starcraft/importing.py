"""Bring in SMAC and PySC2: the right ones, repaired where they need it, in a worker process only.

`load` changes `sys.path`, `sys.meta_path` and environment variables of its process, so nobody but a
worker calls it. `flavour` and `locate` only look at files, and are safe anywhere.
Why PySC2 comes as `pysc2_evolved`: docs/adr/0011.
"""

import importlib
import importlib.util
import logging
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

Flavour = Literal["starcraft", "smac3", "missing"]

RPC_SECONDS = 60
"""How long an answer of the game may take; PySC2 alone would wait for six minutes."""
SMAC_MEND = (
    "clone https://github.com/oxwhirl/smac and set SMAC_PATH to the clone (no package registry has "
    "it: their `smac` is another project)"
)
PYSC2_MEND = "install dm2-dist with the extra [sc2]"
_BACKEND = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
_FORK = "pysc2_evolved"


class StarcraftImportError(RuntimeError):
    """SMAC or PySC2 cannot be used; the message is one sentence that names the mend."""


def flavour(folder: Path) -> Flavour:
    """Tell which project's package `smac` lies in a folder, by its files alone.

    Args:
        folder: a folder as it would stand on `sys.path`: a clone, or a site-packages folder.

    Returns:
        `starcraft` for oxwhirl's, `smac3` for any other package of that name, else `missing`.
    """
    package = folder / "smac"
    if (package / "env" / "starcraft2" / "starcraft2.py").is_file():
        return "starcraft"
    return "smac3" if (package / "__init__.py").is_file() else "missing"


def locate(environ: Mapping[str, str], path: Sequence[str] | None = None) -> Path:
    """Find the folder that holds SMAC: `SMAC_PATH` if it is set, else the first with a `smac`.

    Args:
        environ: the environment variables to obey.
        path: folders to search, `sys.path` unless given.

    Raises:
        StarcraftImportError: no SMAC, or another project of that name in its place.
    """
    named = environ.get("SMAC_PATH", "")
    if named:
        folder = Path(named).expanduser().absolute()
        if flavour(folder) == "missing":
            raise StarcraftImportError(
                f"SMAC_PATH is {named}, but no package smac lies in it; set it to the folder that "
                "holds smac/, a clone of https://github.com/oxwhirl/smac"
            )
        return _starcraft(folder)
    for entry in sys.path if path is None else path:
        folder = Path(entry or ".").absolute()
        if flavour(folder) != "missing":
            return _starcraft(folder)
    raise StarcraftImportError(f"SMAC is missing; {SMAC_MEND}")


def _starcraft(folder: Path) -> Path:
    if flavour(folder) == "starcraft":
        return folder
    raise StarcraftImportError(
        f"the package smac in {folder} is not StarCraft's SMAC (SMAC3 has the same name); "
        f"{SMAC_MEND}"
    )


def load(rpc_seconds: int = RPC_SECONDS) -> type[Any]:
    """Import SMAC's environment class. Only for a worker process: it changes the whole process.

    Args:
        rpc_seconds: how long PySC2 waits for the game to listen, and for each answer.

    Returns:
        `smac.env.StarCraft2Env`.

    Raises:
        StarcraftImportError: SMAC or PySC2 is missing, is another project, or does not import.
    """
    folder = locate(os.environ)
    sys.path.insert(0, str(folder))
    _load_pysc2(rpc_seconds)
    try:
        from absl import flags
        from smac.env import StarCraft2Env
    except Exception as error:
        raise StarcraftImportError(
            f"SMAC in {folder} does not import ({_short(error)}); {SMAC_MEND}"
        ) from error
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["dm2"])
    if "sc2_timeout" in flags.FLAGS:  # the original PySC2 takes it from a flag
        flags.FLAGS["sc2_timeout"].value = rpc_seconds
    found: type[Any] = StarCraft2Env
    return found


def _load_pysc2(rpc_seconds: int) -> None:
    """Make `import pysc2` work: under its own name, or as another name of the maintained fork."""
    if importlib.util.find_spec(_FORK) is None and importlib.util.find_spec("pysc2") is None:
        raise StarcraftImportError(f"PySC2 is missing; {PYSC2_MEND}")
    choose_backend(os.environ)
    try:
        if importlib.util.find_spec(_FORK) is not None:
            _alias_fork(rpc_seconds)
        else:
            _repair_original()
        importlib.import_module("pysc2.run_configs")
        importlib.import_module("pysc2.maps")
    except Exception as error:
        raise StarcraftImportError(_why_no_pysc2(error)) from error


def _why_no_pysc2(error: Exception) -> str:
    text = f"{type(error).__name__} {error}"
    if "Descriptors cannot" in text or "VersionError" in text or "google.protobuf" in text:
        found = version_of("protobuf") or "no protobuf"
        return (
            f"protobuf {found} does not fit the game's messages in s2clientprotocol "
            f"({_short(error)}); {PYSC2_MEND} in an environment of its own"
        )
    return f"PySC2 does not import ({_short(error)}); {PYSC2_MEND} in an environment of its own"


def choose_backend(environ: Any) -> str:
    """Let protobuf read the messages in Python if its compiled parser would refuse them.

    Messages generated before protobuf 3.20 (the package `s2clientprotocol`) are refused by protobuf
    4 and later unless it works in pure Python, which is fifty times slower. Those of
    `pys2clientprotocol` need nothing. Effective before protobuf's first import.

    Args:
        environ: environment variables; written to only if the messages are old and nobody chose.

    Returns:
        `python`, or `compiled` where nothing asks for the slow one.
    """
    if _BACKEND not in environ and _has_old_messages() and _major(version_of("protobuf")) >= 4:
        environ[_BACKEND] = "python"
    return "python" if environ.get(_BACKEND) == "python" else "compiled"


def _has_old_messages() -> bool:
    spec = importlib.util.find_spec("s2clientprotocol")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        messages = Path(folder) / "common_pb2.py"
        if messages.is_file():
            return "_builder" not in messages.read_text(errors="replace")
    return False


class _Alias(MetaPathFinder):
    """Finds `pysc2.x` by importing `pysc2_evolved.x`: one module object under both names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question."""
        if name != "pysc2" and not name.startswith("pysc2."):
            return None
        if importlib.util.find_spec(_FORK + name.removeprefix("pysc2")) is None:
            return None
        return ModuleSpec(name, _AliasLoader())


class _AliasLoader(Loader):
    """Hands out the fork's module, and leaves it as it was."""

    def __init__(self) -> None:
        self._own: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The fork's own module, imported now if it was not."""
        module = importlib.import_module(_FORK + spec.name.removeprefix("pysc2"))
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It has run already; the import system has only overwritten who it is."""
        module.__spec__ = self._own


def _alias_fork(rpc_seconds: int) -> None:
    if not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())
    # Its settings would read any .env file above the package, warn, and set up the root logger.
    settings = {"TIMEOUT_SECONDS": str(rpc_seconds), "PYTHON_DOTENV_DISABLED": "1"}
    with _environment(settings), _quiet():
        process = importlib.import_module("pysc2.lib.sc_process").StarcraftProcess
    process.running = property(_is_running)


def _is_running(process: Any) -> bool:
    """Whether a game lives; the fork's own answer is always yes, so it waits for dead ones."""
    if process._proc is None:
        return bool(process._port)  # somebody else's game, which we only joined
    return process._proc.poll() is None


def _repair_original() -> None:
    """`pysc2.lib.colors` shuffles with a second argument, which Python 3.11 took away."""
    shuffle: Callable[..., None] = random.shuffle

    def shuffle_with(items: list[Any], draw: Callable[[], float] | None = None) -> None:
        if draw is None:
            shuffle(items)
            return
        for last in reversed(range(1, len(items))):
            other = int(draw() * (last + 1))
            items[last], items[other] = items[other], items[last]

    random.shuffle = shuffle_with  # type: ignore[assignment]
    try:
        importlib.import_module("pysc2.lib.colors")
    finally:
        random.shuffle = shuffle


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Nobody logs, and nobody gives the root logger a handler because it has none."""
    before, handler = logging.root.manager.disable, logging.NullHandler()
    logging.disable(logging.CRITICAL)
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
        logging.disable(before)


def version_of(distribution: str) -> str:
    """Version of an installed package; "" if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
