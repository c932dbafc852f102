"""The wall clock decides nothing: it may be set forward and back while a run goes on."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("dm2_dist", "actors", "learners", "launch", "monitoring")
READERS = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "localtime"),
    ("time", "gmtime"),
    ("time", "strftime"),
    ("time", "ctime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
}
ALLOWED = {
    # Names that people read, and seeds that need not repeat.
    "dm2_dist/run_directory.py": "the name of a folder",
    "launch/chaos.py": "the name of a folder",
    "dm2_dist/envs/smac.py": "seeds of a game that draws its own",
    "dm2_dist/envs/starcraft/game.py": "a line of a log",
    "dm2_dist/envs/skirmish/environment.py": "the name of a replay",
    "dm2_dist/log_line.py": "when an event happened, for people",
    "monitoring/tracker_tensorboard.py": "when a point was written, for people",
    "monitoring/tracker_mlflow.py": "when a point was written, for people",
    # A number that grows; `supervisor` and `roles` may need it to grow past a clock set back.
    "launch/supervisor.py": "incarnations",
    "launch/roles.py": "incarnations",
}


def readers(path):
    """The lines of a file that read the wall clock."""
    tree = ast.parse(path.read_text())
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in READERS
    ]


def test_only_names_and_incarnations_come_from_the_wall_clock():
    found = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if readers(path)
    }
    assert found <= set(ALLOWED)


def test_nobody_hides_a_clock_behind_another_name():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module == "time":
                    assert not {alias.name for alias in node.names} & {"time", "time_ns"}, path
