"""What is shipped, and what must not be in it."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import dm2_dist

ROOT = Path(dm2_dist.__file__).resolve().parent.parent
PACKAGES = ("dm2_dist", "actors", "learners", "launch", "monitoring")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "yaml",
}
FORBIDDEN_CALLS = {"eval", "exec", "torch.load", "numpy.load", "np.load"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names of the files in a wheel built from this tree, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return built.name, archive.namelist()


@pytest.mark.integration
def test_the_wheel_holds_the_five_packages_and_nothing_else(wheel):
    name, files = wheel
    metadata = f"dm2_dist-{dm2_dist.__version__}.dist-info"
    assert name == f"dm2_dist-{dm2_dist.__version__}-py3-none-any.whl"
    assert {file.partition("/")[0] for file in files} == {*PACKAGES, metadata}
    assert f"{metadata}/entry_points.txt" in files


@pytest.mark.integration
def test_the_wheel_holds_every_source_file_and_the_data(wheel):
    _, files = wheel
    expected = {str(path.relative_to(ROOT)) for path in SOURCES}
    expected |= {"dm2_dist/py.typed", "monitoring/prometheus.yml"}
    expected.add("dm2_dist/envs/skirmish/pictures/page.html")
    assert expected <= set(files)
    assert not [file for file in files if "__pycache__" in file or "test" in Path(file).name]


def test_the_changelog_begins_with_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[?v?(\d+\.\d+\.\d+)", text, flags=re.MULTILINE)
    assert versions[0] == dm2_dist.__version__


def forbidden(source):
    """Imports and calls that turn bytes from a file or a wire into code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_forbidden_module(alias.name))
        elif isinstance(node, ast.ImportFrom) and is_forbidden_module(node.module or ""):
            yield str(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in FORBIDDEN_CALLS:
            yield ast.unparse(node.func)


def is_forbidden_module(name):
    return name.partition(".")[0] in FORBIDDEN_MODULES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_file_runs_what_it_reads(path):
    assert list(forbidden(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import numpy, yaml",
        "from pickle import loads",
        "import dill.source",
        "eval('1')",
        "torch.load('x')",
        "def f():\n    exec(text)",
    ],
)
def test_the_check_finds_what_it_looks_for(source):
    assert list(forbidden(source))


@pytest.mark.parametrize("source", ["model.eval()", "safetensors.torch.load(b'')", "json.load(f)"])
def test_the_check_lets_harmless_names_pass(source):
    assert not list(forbidden(source))
