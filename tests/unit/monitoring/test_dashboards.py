"""The dashboards against the catalogue, against promtool and against their own files."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import (
    catalogue,
    dashboard_layout,
    dashboard_pace,
    dashboards,
    wording,
)
from monitoring.dashboard_layout import COLUMNS, KINDS, STAT, Dashboard, Panel, Query, Section

ROOT = Path(__file__).parents[3]
PANELS = [(page, panel) for page in dashboards.TABLE for panel in page.panels()]
EXPRESSIONS = [query.expression for _, panel in PANELS for query in panel.queries]
FROM_ELSEWHERE = {
    "up",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_start_time_seconds",
}
"""What Prometheus itself and the client library export."""


def pages() -> list[dict[str, Any]]:
    return [json.loads(dashboards.rendered(dashboard)) for dashboard in dashboards.TABLE]


def every_expression() -> list[str]:
    marks = [
        row["expr"] for page in pages() for row in page["annotations"]["list"] if "expr" in row
    ]
    return sorted({*EXPRESSIONS, *marks})


def concrete(expression: str) -> str:
    """As Grafana sends it."""
    for name, value in {
        "$__rate_interval": "60s",
        "$run": "3m-dm2",
        "$agent": "0|1",
        "$role": "actor|learner",
    }.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, f"a variable is left in {expression}"
    return expression


def metrics_of(expression: str) -> set[str]:
    """Names of the series an expression reads: words that are neither functions nor labels."""
    outside = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", expression)
    outside = re.sub(r"\b(by|ignoring|on)\s*\([^)]*\)", "", outside)
    words = re.findall(r"\b(?:[a-z][a-z0-9]*_[a-z0-9_]+|up)\b(?!\s*\()", outside)
    return {*words} - {"group_left"}


def known(name: str) -> str:
    """The catalogue's name of a series; of a histogram there are three."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    rows = {row.name: row.kind for row in catalogue.TABLE}
    return base if rows.get(base) == catalogue.HISTOGRAM and base != name else name


def test_every_metric_that_a_panel_reads_exists() -> None:
    exported = {row.name for row in catalogue.TABLE} | FROM_ELSEWHERE
    for expression in every_expression():
        names = {known(name) for name in metrics_of(expression)}
        assert names, expression
        assert names <= exported, f"{names - exported} in {expression}"


def test_every_metric_of_the_catalogue_is_shown_or_excused() -> None:
    shown = {known(name) for expression in every_expression() for name in metrics_of(expression)}
    missing = {row.name for row in catalogue.TABLE} - shown - dashboards.NOT_SHOWN.keys()
    assert not missing, "give them a panel, or a line in dashboards.NOT_SHOWN that says why not"
    assert not shown & dashboards.NOT_SHOWN.keys(), "excused, but shown"
    assert dashboards.NOT_SHOWN.keys() <= {row.name for row in catalogue.TABLE}
    assert all(dashboards.NOT_SHOWN.values())


def test_label_values_that_a_panel_names_exist() -> None:
    allowed = {
        row.name: {row.label: set(row.values)}
        for row in catalogue.TABLE
        if row.label and row.values
    }
    checked = 0
    for expression in every_expression():
        for name, selector in re.findall(r"([a-z][a-z0-9_]+)\{([^}]*)\}", expression):
            for label, value in re.findall(r'([a-z_]+)="([^"$]+)"', selector):
                if label in allowed.get(known(name), {}):
                    assert value in allowed[known(name)][label], f"{label}={value} of {name}"
                    checked += 1
    assert checked > 10


def test_promtool_reads_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:query:{number}", "expr": concrete(expression)}
        for number, expression in enumerate(every_expression())
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in _promtool("check", "rules", "--lint=none", str(file))


def _promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed; Debian's package is `prometheus`")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_files_are_what_the_table_says(tmp_path: Path) -> None:
    dashboards.write(tmp_path)
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    shipped = {file.name: file.read_text() for file in dashboards.FOLDER.iterdir()}
    assert made == shipped, "run `python -m monitoring.dashboards`"


def overlapping(page: dict[str, Any]) -> bool:
    cells: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= COLUMNS
        mine = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        if mine & cells:
            return True
        cells |= mine
    return False


def test_panels_do_not_overlap_and_are_named_once() -> None:
    for page in pages():
        assert not overlapping(page)
        ids = [panel["id"] for panel in page["panels"]]
        titles = [panel["title"] for panel in page["panels"]]
        assert len(set(ids)) == len(ids)
        assert len(set(titles)) == len(titles), page["title"]


SIZES = st.lists(st.tuples(st.integers(1, COLUMNS), st.integers(1, 12)), min_size=1, max_size=12)


@given(st.lists(SIZES, min_size=1, max_size=4))
def test_panels_of_any_size_find_their_places(sections: list[list[tuple[int, int]]]) -> None:
    dashboard = Dashboard(
        "any", "Any", "Any sizes.", tuple(Section("s", tuple(map(blank, row))) for row in sections)
    )
    page = dashboard_layout.page(dashboard, [], [])
    assert len(page["panels"]) == len(sections) + sum(map(len, sections))
    assert not overlapping(page)


def blank(size: tuple[int, int]) -> Panel:
    width, height = size
    return dashboard_layout.chart("t", "none", "d", Query("up", "l"), width=width, height=height)


def test_every_panel_is_complete() -> None:
    for page, panel in PANELS:
        where = f"{page.title}: {panel.title}"
        assert panel.kind in KINDS, where
        assert panel.unit, where
        assert panel.description.endswith("."), where
        assert panel.queries, where
        assert all(query.legend for query in panel.queries), where
        if panel.kind == STAT:
            assert len(panel.queries) == 1, f"{where}: a number shows one query"


def test_colours_belong_to_curves_that_exist() -> None:
    phases = {phase for role in ("actor", "learner") for phase in phases_of(role)}
    for page, panel in PANELS:
        legends = {query.legend for query in panel.queries}
        dynamic = {"{{phase}}": phases, "{{state}}": {"playing", "waiting", "leased"}}
        for template, values in dynamic.items():
            if template in legends:
                legends |= values
        assert (panel.colours or {}).keys() <= legends, f"{page.title}: {panel.title}"


def phases_of(role: str) -> tuple[str, ...]:
    [row] = [row for row in catalogue.TABLE if row.name == f"dm2_{role}_phase_seconds_total"]
    return row.values


def test_phases_have_their_colours() -> None:
    budgets = {
        "Time of the actors": phases_of("actor"),
        "Time of the learners": phases_of("learner"),
    }
    found = {panel.title: panel for _, panel in PANELS if panel.title in budgets}
    assert found.keys() == budgets.keys()
    for title, phases in budgets.items():
        assert (found[title].colours or {}).keys() == {*phases}
        assert len({*(found[title].colours or {}).values()}) == len(phases)


def test_variables_are_those_that_the_queries_use() -> None:
    for page in pages():
        text = json.dumps(page["panels"])
        names = [variable["name"] for variable in page["templating"]["list"]]
        assert names[:2] == ["datasource", "run"]
        assert {name for name in ("run", "agent", "role") if f"${name}" in text} == {*names[1:]}
        for variable in page["templating"]["list"][1:]:
            read = metrics_of(variable["query"]["query"]) - {"run_id"}
            assert len(read) == 1
            assert read <= {row.name for row in catalogue.TABLE}
    assert "agent" in json.dumps(pages()[1]["templating"])
    assert "role" in json.dumps(pages()[3]["templating"])


def test_pages_link_to_each_other_and_mark_restarts() -> None:
    uids = [page["uid"] for page in pages()]
    assert len(set(uids)) == len(uids)
    for page in pages():
        [link] = page["links"]
        assert link["type"] == "dashboards"
        assert {*link["tags"]} <= {*page["tags"]}
        assert link["includeVars"]
        assert link["keepTime"]
        marks = {mark["name"]: mark["enable"] for mark in page["annotations"]["list"]}
        assert marks["Restarts"]
        assert {"Evaluations", "Checkpoints"} <= marks.keys()


ACTOR_SECONDS = st.fixed_dictionaries({phase: st.floats(0, 10) for phase in catalogue.ACTOR_PHASES})
LEARNER_SECONDS = st.fixed_dictionaries(
    {phase: st.floats(0, 10) for phase in catalogue.LEARNER_PHASES}
)


def code_of(actors: dict[str, float], learners: list[dict[str, float]]) -> int:
    """What `dashboard_pace.PACE` computes."""
    shares = wording.shares(actors)
    busy = sorted(1 - wording.shares(learner)["wait_data"] for learner in learners)
    ahead = busy[-1] - busy[len(busy) // 2]
    return (
        8 * (ahead >= wording.UNEVEN)
        + 4 * (busy[-1] >= wording.BUSY)
        + 2 * (shares["play"] >= wording.BUSY)
        + (shares["send"] >= wording.SLOW_WIRE)
    )


@given(ACTOR_SECONDS, st.lists(LEARNER_SECONDS, min_size=3, max_size=3))
def test_the_pace_has_the_words_of_the_terminal(
    actors: dict[str, float], learners: list[dict[str, float]]
) -> None:
    actors["wait_game"] += 0.01
    for learner in learners:
        learner["ppo"] += 0.01
    says(actors, learners)


@pytest.mark.parametrize("play", [0.9, 0.5])
@pytest.mark.parametrize("send", [0.05, 0.4])
@pytest.mark.parametrize("idle", [(0.05, 0.05, 0.05), (0.05, 0.9, 0.9), (0.9, 0.9, 0.9)])
def test_the_pace_has_words_for_each_case(
    play: float, send: float, idle: tuple[float, float, float]
) -> None:
    actors = dict.fromkeys(catalogue.ACTOR_PHASES, 0.0) | {"play": play, "wait_ticket": 1 - play}
    if play < 0.8:
        actors |= {"send": send, "wait_ticket": 1 - play - send}
    learners = [
        dict.fromkeys(catalogue.LEARNER_PHASES, 0.0) | {"wait_data": share, "ppo": 1 - share}
        for share in idle
    ]
    says(actors, learners)


def says(actors: dict[str, float], learners: list[dict[str, float]]) -> None:
    sentence = wording.bottleneck(actors, learners, "sync")
    words, _ = dashboard_pace.pace_words(code_of(actors, learners))
    beginnings = {
        "well balanced": "well balanced",
        "the learners": "learners are the bottleneck",
        "one learner": "one learner is the bottleneck",
        "the actors": "actors are the bottleneck",
        "the wire": "the wire is the bottleneck",
        "nobody: they take turns": "actors and learners take turns",
    }
    assert sentence.startswith(beginnings[words])


CASES: list[tuple[dict[str, float], list[float]]] = [
    ({"play": 0.1, "wait_ticket": 0.9}, [0.02, 0.05, 0.03]),
    ({"play": 0.9, "wait_ticket": 0.1}, [0.6, 0.5, 0.5]),
    ({"play": 0.9, "wait_ticket": 0.1}, [0.1, 0.1, 0.1]),
    ({"play": 0.5, "send": 0.4, "wait_ticket": 0.1}, [0.6, 0.5, 0.5]),
    ({"play": 0.5, "wait_ticket": 0.5}, [0.05, 0.6, 0.6]),
    ({"play": 0.5, "wait_ticket": 0.5}, [0.5, 0.5, 0.5]),
]


def test_prometheus_computes_the_same_pace(tmp_path: Path) -> None:
    """Three learners and two actors per case; a run of its own for each."""
    series, checks = [], []
    for number, (actors, waits) in enumerate(CASES):
        run = f"r{number}"
        series += [
            _counter(f'dm2_actor_phase_seconds_total{{run_id="{run}",actor="{a}",phase="{p}"}}', s)
            for a in range(2)
            for p, s in _whole(actors).items()
        ]
        series += [
            _counter(
                f'dm2_learner_phase_seconds_total{{run_id="{run}",agent="{k}",phase="{p}"}}', s
            )
            for k, wait in enumerate(waits)
            for p, s in {"wait_data": wait, "ppo": 1 - wait}.items()
        ]
        learners = [{"wait_data": wait, "ppo": 1 - wait} for wait in waits]
        checks.append(
            {
                "expr": concrete(dashboard_pace.PACE.replace("$run", run)),
                "eval_time": "5m",
                "exp_samples": [{"labels": "{}", "value": code_of(_whole(actors), learners)}],
            }
        )
    file = tmp_path / "test.json"
    test = {"interval": "5s", "input_series": series, "promql_expr_test": checks}
    file.write_text(json.dumps({"evaluation_interval": "5s", "tests": [test]}))
    assert "SUCCESS" in _promtool("test", "rules", str(file))


def _whole(actors: dict[str, float]) -> dict[str, float]:
    return dict.fromkeys(catalogue.ACTOR_PHASES, 0.0) | actors


def _counter(name: str, share: float) -> dict[str, str]:
    return {"series": name, "values": f"0+{5 * share}x100"}


def test_provisioning_names_what_is_there() -> None:
    folder = ROOT / "monitoring" / "grafana" / "provisioning"
    compose = (ROOT / "monitoring" / "compose.yaml").read_text()
    provider = (folder / "dashboards" / "dm2.yaml").read_text()
    source = (folder / "datasources" / "dm2.yaml").read_text()
    path = value_of(provider, "path")
    assert f"./dashboards:{path}:ro" in compose
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in compose
    assert "./prometheus.yml:/etc/prometheus/prometheus.yml:ro" in compose
    assert "rules/*.yml" in (ROOT / "monitoring" / "prometheus.yml").read_text()
    assert "./rules:/etc/prometheus/rules:ro" in compose
    assert value_of(source, "timeInterval") == scrape_interval()
    for image in re.findall(r"image: (\S+)", compose):
        assert re.search(r":v?\d+\.\d+\.\d+$", image), f"{image} is not pinned"


def value_of(text: str, key: str) -> str:
    [value] = re.findall(rf"^\s*{key}: (\S+)$", text, re.M)
    return value.strip("\"'")


def scrape_interval() -> str:
    return value_of((ROOT / "monitoring" / "prometheus.yml").read_text(), "scrape_interval")


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum by (agent) (rate(dm2_a_b_total{x="dm2_no"}[1m]))', {"dm2_a_b_total"}),
        ("up / ignoring (phase) group_left sum(dm2_x_y)", {"up", "dm2_x_y"}),
    ],
)
def test_names_are_found_in_queries(expression: str, names: set[str]) -> None:
    assert metrics_of(expression) == names
