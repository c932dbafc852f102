"""Nothing that turns data into code, anywhere in the five packages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("dm2_dist", "actors", "learners", "launch", "monitoring")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

MODULES = frozenset(
    {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal",
     "shelve", "yaml", "ruamel", "code", "codeop", "xmlrpc"}
)  # fmt: skip
"""Modules that must not be imported at all."""
CALLS = frozenset(
    {"eval", "exec", "__import__", "recv_pyobj", "send_pyobj", "recv_serialized",
     "send_serialized", "read_pickle", "to_pickle"}
)  # fmt: skip
"""Functions and methods that must not be called, whoever owns them."""
QUALIFIED = frozenset(
    {"torch.load", "torch.save", "torch.jit.load", "numpy.load", "np.load", "os.system",
     "os.popen"}
)  # fmt: skip
"""What must not even be mentioned."""
BARE = frozenset({"compile"})
"""Harmless as a method of something."""


def offences(source: str) -> Iterator[str]:
    """What must not be there, as `line: what`."""
    for node in ast.walk(ast.parse(source)):
        for what in _offences_of(node):
            yield f"{node.lineno}: {what}"


def _offences_of(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (name.name for name in names if name.name.split(".")[0] in MODULES)
        case ast.ImportFrom(module=str(module), names=names):
            if module.split(".")[0] in MODULES:
                yield module
            yield from (
                f"{module}.{name.name}" for name in names if f"{module}.{name.name}" in QUALIFIED
            )
        case ast.Call(func=function, keywords=keywords):
            name = ast.unparse(function)
            if name in BARE or name.rpartition(".")[2] in CALLS:
                yield name
            yield from _dangerous_arguments(keywords)
        case ast.Attribute() if ast.unparse(node) in QUALIFIED:
            yield ast.unparse(node)


def _dangerous_arguments(keywords: list[ast.keyword]) -> Iterator[str]:
    for keyword in keywords:
        if keyword.arg in ("allow_pickle", "shell") and ast.unparse(keyword.value) != "False":
            yield f"{keyword.arg}={ast.unparse(keyword.value)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_data_stays_data(path: Path) -> None:
    assert list(offences(path.read_text())) == []


def test_all_packages_are_looked_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)
    assert len(FILES) > 150


@pytest.mark.parametrize(
    "source",
    ["import pickle", "import pickle as p", "from pickle import loads", "import os, marshal",
     "from shelve import open", "import yaml.constructor", "eval('1')", "exec(text)",
     "builtins.eval(text)", "compile(text, '', 'exec')", "torch.load(path)",
     "torch.load(path, weights_only=True)", "from torch import load", "read = torch.load",
     "numpy.load(path)", "socket.recv_pyobj()", "self.socket.send_pyobj(1)",
     "zmq.Socket.recv_serialized(s, f)", "f(allow_pickle=True)", "f(allow_pickle=flag)",
     "subprocess.run(text, shell=True)", "os.system(text)", "__import__(name)"],
)  # fmt: skip
def test_each_of_them_would_be_found(source: str) -> None:
    assert list(offences(source))


@pytest.mark.parametrize(
    "source",
    ["re.compile('x')", "json.loads(text)", "safetensors.torch.load(data)", "f(shell=False)",
     "socket.recv_multipart()", "evaluate(x)", "learner.load(state)"],
)  # fmt: skip
def test_what_is_harmless_is_not(source: str) -> None:
    assert not list(offences(source))
