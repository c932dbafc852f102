"""What a dashboard is made of, and how it becomes the JSON that Grafana reads.

Plain dictionaries, no SDK: the ones that exist check nothing, and a test checks these.
Filled by the tables `monitoring.dashboard_overview`, `dashboard_learning`, `dashboard_pipeline`
and `dashboard_machines`; put together and written by `monitoring.dashboards`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

COLUMNS = 24
"""Width of Grafana's grid."""
TIME_SERIES = "timeseries"
STAT = "stat"
KINDS = (TIME_SERIES, STAT)

OF_RUN = 'run_id="$run"'
OF_AGENT = 'run_id="$run",agent=~"$agent"'
OF_ROLE = 'run_id="$run",role=~"$role"'
"""Label matchers: the run, the agents and the roles that were chosen on top of the page."""
RATE = "$__rate_interval"
"""A minute (four times `STEP`), and more where a point of the curve stands for more."""
STEP = "15s"
"""Least distance of the points of a curve."""

GREEN = "green"
YELLOW = "yellow"
ORANGE = "orange"
RED = "red"
BLUE = "blue"
TEXT = "text"
"""The last: black or white, whatever the theme writes in."""

Json: TypeAlias = dict[str, Any]

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel.

    legend: name of its curves; `{{label}}` stands for the label's value.
    """

    expression: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart or number.

    unit: Grafana's name of it, for instance `percentunit` for a fraction shown in percent.
    description: what one sees, and what is good; shown behind the little i.
    width, height: in cells of the grid, which has 24 columns.
    from_zero: the axis shows 0 even if no curve goes there.
    reaches: the axis goes up to this value even if no curve does.
    logarithmic: the axis, for values that differ by orders of magnitude.
    steps: colour from a value upwards; what is below the first has `base`.
    colours: by legend, for curves that should look the same everywhere.
    mappings: words shown in place of a number, with their colours.
    stacked: curves that are parts of one whole.
    """

    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    kind: str = TIME_SERIES
    width: int = 8
    height: int = 8
    decimals: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    base: str = TEXT
    steps: tuple[tuple[float, str], ...] = ()
    colours: Mapping[str, str] | None = None
    mappings: tuple[tuple[int, str, str], ...] = ()
    stacked: bool = False
    from_zero: bool = True
    reaches: float | None = None
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under one heading, left to right, as many in a line as fit."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page; uid is its address in Grafana and the name of its file."""

    uid: str
    title: str
    description: str
    sections: tuple[Section, ...]

    def panels(self) -> tuple[Panel, ...]:
        """All of them, in reading order."""
        return tuple(panel for section in self.sections for panel in section.panels)


def number(title: str, unit: str, description: str, expression: str, **options: Any) -> Panel:
    """A panel that shows the newest value of one expression."""
    query = Query(expression, options.pop("legend", title))
    shape = {"width": 3, "height": 4} | options
    return Panel(
        title=title, unit=unit, description=description, queries=(query,), kind=STAT, **shape
    )


def chart(title: str, unit: str, description: str, *queries: Query, **options: Any) -> Panel:
    """A panel of curves over time."""
    return Panel(title=title, unit=unit, description=description, queries=queries, **options)


def page(dashboard: Dashboard, variables: list[Json], annotations: list[Json]) -> Json:
    """The dashboard as Grafana's JSON, without anything that changes from call to call."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["dm2"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "fiscalYearStartMonth": 0,
        "links": [_link()],
        "templating": {"list": variables},
        "annotations": {"list": annotations},
        "panels": _panels(dashboard.sections),
    }


def _link() -> Json:
    return {
        "type": "dashboards",
        "title": "dm2",
        "tags": ["dm2"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "The other pages, for the same run and the same time",
        "url": "",
    }


def _panels(sections: tuple[Section, ...]) -> list[Json]:
    """Panels and headings at their places; ids count from 1."""
    placed: list[Json] = []
    top = 0
    for section in sections:
        placed.append(_heading(section.title, top, len(placed) + 1))
        top += 1
        left = line = 0
        for panel in section.panels:
            if left + panel.width > COLUMNS:
                top, left, line = top + line, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            placed.append(_panel(panel, place, len(placed) + 1))
            left, line = left + panel.width, max(line, panel.height)
        top += line
    return placed


def _heading(title: str, top: int, number: int) -> Json:
    place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": place,
        "panels": [],
    }


def _panel(panel: Panel, place: Mapping[str, int], number: int) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": dict(place),
        "datasource": _SOURCE,
        "targets": [_target(panel, index) for index in range(len(panel.queries))],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _stat_options() if panel.kind == STAT else _chart_options(),
    }


def _target(panel: Panel, index: int) -> Json:
    query = panel.queries[index]
    return {
        "refId": chr(ord("A") + index),
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expression,
        "legendFormat": query.legend,
        "interval": STEP,
        "format": "time_series",
        "instant": False,
        "range": True,
    }


def _defaults(panel: Panel) -> Json:
    limits: list[Json] = [{"color": panel.base, "value": None}]
    limits += [{"color": colour, "value": value} for value, colour in panel.steps]
    known = {"decimals": panel.decimals, "min": panel.minimum, "max": panel.maximum}
    return {
        "unit": panel.unit,
        **{name: value for name, value in known.items() if value is not None},
        "color": {"mode": "thresholds" if panel.kind == STAT else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": limits},
        "mappings": [_mapping(panel)] if panel.mappings else [],
        "custom": _curve(panel) if panel.kind == TIME_SERIES else {},
    }


def _mapping(panel: Panel) -> Json:
    words = {
        str(value): {"text": text, "color": colour, "index": index}
        for index, (value, text, colour) in enumerate(panel.mappings)
    }
    return {"type": "value", "options": words}


def _curve(panel: Panel) -> Json:
    return {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1 if panel.stacked else 2,
        "fillOpacity": 60 if panel.stacked else 0,
        "showPoints": "never",
        "spanNulls": 60_000,
        "axisPlacement": "auto",
        **({"axisSoftMin": 0} if panel.from_zero and not panel.logarithmic else {}),
        **({"axisSoftMax": panel.reaches} if panel.reaches is not None else {}),
        **({"scaleDistribution": {"type": "log", "log": 2}} if panel.logarithmic else {}),
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
    }


def _overrides(panel: Panel) -> list[Json]:
    return [
        {
            "matcher": {"id": "byName", "options": legend},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for legend, colour in (panel.colours or {}).items()
    ]


def _chart_options() -> Json:
    return {
        "legend": {
            "showLegend": True,
            "displayMode": "list",
            "placement": "bottom",
            "calcs": [],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _stat_options() -> Json:
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "value",
        "justifyMode": "auto",
        "orientation": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
