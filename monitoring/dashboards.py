"""The Grafana dashboards: four pages of one table, and what they have in common.

`python -m monitoring.dashboards` writes monitoring/dashboards/*.json, which Grafana reads as
monitoring/grafana/provisioning says; a test compares the two. Pages: `dashboard_overview`,
`dashboard_learning`, `dashboard_pipeline`, `dashboard_machines`; how to use them: docs/grafana.md.
"""

import json
import sys
from pathlib import Path

from monitoring.dashboard_layout import OF_RUN, Dashboard, Json, page
from monitoring.dashboard_learning import LEARNING
from monitoring.dashboard_machines import MACHINES
from monitoring.dashboard_overview import OVERVIEW
from monitoring.dashboard_pipeline import PIPELINE

FOLDER = Path(__file__).parent / "dashboards"

TABLE: tuple[Dashboard, ...] = (OVERVIEW, LEARNING, PIPELINE, MACHINES)
"""Every dashboard, in reading order."""

NOT_SHOWN = {
    "dm2_build_info": "always 1; the variables on top of the pages are read from it",
    "dm2_learner_statistic": "further numbers of an algorithm, which differ from one to the next",
}
"""Metrics of the catalogue that no panel shows, and why."""

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

_VARIABLES = {
    "run": ("Run", "dm2_build_info, run_id", "Newest name first; the name of the run directory."),
    "agent": (
        "Agent",
        'dm2_learner_policy_version{run_id="$run"}, agent',
        "Whose learner; seats of the team, counted from 0.",
    ),
    "role": ("Role", 'dm2_build_info{run_id="$run"}, role', "Which kind of process."),
}
"""Name: label, series and the label to take from them, description."""

_ANNOTATIONS = (
    ("Restarts", "red", True, "role", "dm2_process_restarts_total", "started again: {{role}}"),
    ("Evaluations", "green", False, "", "dm2_eval_episodes_total", "evaluation complete"),
    ("Checkpoints", "blue", False, "", "dm2_head_iterations_total", "iteration committed"),
)
"""Name, colour, shown at first, label to keep apart, counter that rises, text."""


def rendered(dashboard: Dashboard) -> str:
    """The text of the dashboard's file."""
    expressions = [query.expression for panel in dashboard.panels() for query in panel.queries]
    chosen = [name for name in _VARIABLES if any(f"${name}" in text for text in expressions)]
    variables = [_source(), *map(_variable, chosen)]
    annotations = [_built_in(), *(_annotation(*row) for row in _ANNOTATIONS)]
    content = page(dashboard, variables, annotations)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Write one file `<uid>.json` per dashboard."""
    folder.mkdir(parents=True, exist_ok=True)
    for dashboard in TABLE:
        (folder / f"{dashboard.uid}.json").write_text(rendered(dashboard), encoding="utf-8")


def _source() -> Json:
    return {
        "name": "datasource",
        "type": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "hide": 0,
        "multi": False,
        "includeAll": False,
        "options": [],
        "refresh": 1,
        "regex": "",
    }


def _variable(name: str) -> Json:
    label, values, description = _VARIABLES[name]
    several = name != "run"
    query = f"label_values({values})"
    return {
        "name": name,
        "type": "query",
        "label": label,
        "description": description,
        "datasource": _SOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "hide": 0,
        "multi": several,
        "includeAll": several,
        **(
            {"allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}} if several else {}
        ),
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 3 if name == "agent" else 2 if name == "run" else 1,
    }


def _built_in() -> Json:
    return {
        "builtIn": 1,
        "name": "Annotations & Alerts",
        "type": "dashboard",
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
    }


def _annotation(name: str, colour: str, shown: bool, label: str, counter: str, text: str) -> Json:
    """A mark wherever the counter rose within the last 15 seconds."""
    by = f"sum by ({label})" if label else "sum"
    return {
        "name": name,
        "datasource": _SOURCE,
        "enable": shown,
        "hide": False,
        "iconColor": colour,
        "expr": f"{by} (increase({counter}{{{OF_RUN}}}[15s])) > 0",
        "step": "15s",
        "titleFormat": text,
        "textFormat": "",
        "tagKeys": label,
        "useValueForTime": False,
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
