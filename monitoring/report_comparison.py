"""The report of several runs: curves with intervals over runs, and what sets them apart.

Runs whose configurations differ in nothing but the seed are one setting, and drawn as one curve.
Fed by `monitoring.report_source`; written by `launch.report`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from monitoring import (
    report,
    report_curves,
    report_document,
    report_flow,
    report_parts,
    report_plot,
    report_setting,
    report_statistics,
    wording,
)
from monitoring.report_markup import Html, section, table, tag
from monitoring.report_plot import Axes, Line, Rule
from monitoring.report_setting import Setting
from monitoring.report_source import Run
from monitoring.report_statistics import Floats

MOST_RUNS = 64


def page(runs: Sequence[Run]) -> str:
    """The report of several runs.

    Args:
        runs: two to `MOST_RUNS`, as read from their directories.

    Returns:
        The whole HTML document.
    """
    groups, labels = report_setting.group(runs), names(runs)
    title = f"{len(runs)} runs compared"
    told = [f"{label}: {problem}" for run, label in zip(runs, labels, strict=True)
            for problem in run.problems]  # fmt: skip
    keys = report_plot.legend([(label, colour) for colour, label in enumerate(labels)])
    parts = [
        section("evaluation", "Evaluation", *_evaluation(groups)),
        section("runs", "Runs", _table(runs, labels)),
        *report_curves.compared(runs, labels),
        section("time", "Time", *_times(runs, labels)),
        section("trajectories", "Trajectories", _flows(runs, labels)),
        section("differences", "Differences", *_differences(runs, labels)),
    ]
    parts[2:2] = [section("each", "Learners, run by run", tag("p", _EACH, class_="note"), keys)]
    heading = tag("header", tag("h1", title), tag("p", _told(groups)))
    body = [heading, *report_parts.problems(told), report.contents(parts), *parts]
    return report_document.document(title, body)


_EACH = "In the pictures below every run has its colour; a curve is the mean over its agents."


def names(runs: Sequence[Run]) -> list[str]:
    """A label per run: its folder's name, with a number where two are alike."""
    found: list[str] = []
    for run in runs:
        label, number = run.name, 1
        while label in found:
            number += 1
            label = f"{run.name} ({number})"
        found.append(label)
    return found


def _told(groups: Sequence[Setting]) -> str:
    counted = "one setting" if len(groups) == 1 else f"{len(groups)} settings"
    return f"{counted}: " + "; ".join(f"{one.label} ({_runs(one)})" for one in groups)


def _runs(group: Setting) -> str:
    return "1 run" if len(group.runs) == 1 else f"{len(group.runs)} runs"


def _evaluation(groups: Sequence[Setting]) -> list[Html]:
    rates, returns, rules = list[Line](), list[Line](), list[Rule]()
    for colour, group in enumerate(groups):
        rates += curves_of(group, colour, "win_rate")
        returns += curves_of(group, colour, "return_mean")
        levels = [run.level for run in group.runs if run.level is not None]
        if levels:
            rules.append(Rule("demonstrators", levels[0].win_rate, colour))
    keys = report_plot.legend([(f"{one.label} ({_runs(one)})", c) for c, one in enumerate(groups)])
    if not rates:
        return [tag("p", "There is no evaluation yet.", class_="note")]
    note = (
        "Bold: mean of the runs of a setting, from four runs on their interquartile mean; band: "
        "95 % interval by bootstrap over the runs. A single run: 95 % score interval over its "
        "episodes."
    )
    pictures = [
        report_plot.chart("win rate, greedy", rates, Axes(limits=(0, 1)), rules=rules),
        report_plot.chart("mean return, greedy", returns, Axes()),
    ]
    final = [_final(group) for group in groups]
    heads = ("setting", "runs", "statistic", "win rate at the common end", "95 % interval")
    end = table(heads, final, caption="At the last env step that all runs of a setting reached")
    grid = tag("div", *pictures, class_="charts wide")
    return [tag("p", note, class_="note"), keys, grid, end, *_over_maps(groups)]


def curves_of(group: Setting, colour: int, what: str) -> list[Line]:
    """The curve of a setting with its band, after those of its runs if there are several.

    Args:
        group: the setting.
        colour: of all its lines.
        what: `win_rate` or `return_mean`.
    """
    known = [run for run in group.runs if run.evaluations]
    draw = report_curves.win_rates if what == "win_rate" else report_curves.returns
    if len(known) < 2:
        return [draw(run, colour, label=group.label) for run in known]
    singles = [draw(run, colour, label=run.name) for run in known]
    grid, values = report_statistics.common_grid([(line.x, line.y) for line in singles])
    faint = [
        Line(f"seed {run.config.get('seed', '?')}", line.x, line.y, colour, faint=True)
        for run, line in zip(known, singles, strict=True)
    ]
    if not len(grid):
        return faint
    _, statistic = group.statistic
    band = report_statistics.stratified_bootstrap([values], statistic)
    return [*faint, Line(group.label, grid, statistic(values), colour, band)]


def _ends(group: Setting) -> Floats:
    """The win rate of each run at the last env step that all of them have reached, [N, 1]."""
    curves = [
        (report_curves.steps_of(run.evaluations), np.array([e.win_rate for e in run.evaluations]))
        for run in group.runs
        if run.evaluations
    ]
    if not curves:
        return np.empty((0, 1))
    grid, values = report_statistics.common_grid(curves)
    return values[:, -1:] if len(grid) else np.array([[y[-1]] for _, y in curves])


def _final(group: Setting) -> list[str]:
    values, (name, statistic) = _ends(group), group.statistic
    if not len(values):
        return [group.label, str(len(group.runs)), "-", "-", "-"]
    if len(values) == 1:
        last = next(run.evaluations[-1] for run in group.runs if run.evaluations)
        interval = report_parts.with_interval(last)
        return [group.label, "1", "this run", wording.percent(last.win_rate), interval]
    return [group.label, str(len(values)), name, *_estimate([values], statistic)]


def _estimate(strata: list[Floats], statistic: report_statistics.Statistic) -> tuple[str, str]:
    low, high = report_statistics.stratified_bootstrap(strata, statistic)
    value = float(statistic(np.concatenate(strata))[0])
    interval = f"{wording.percent(float(low[0]))} to {wording.percent(float(high[0]))}"
    return wording.percent(value), interval


def _over_maps(groups: Sequence[Setting]) -> list[Html]:
    """Settings that were run on several maps, all maps together; maps are the strata."""
    across: dict[str, list[Setting]] = {}
    for group in groups:
        across.setdefault(report_setting.but_for_the_map(group.runs[0]), []).append(group)
    rows = []
    for members in across.values():
        strata = [ends for group in members if len(ends := _ends(group))]
        maps = [str(group.runs[0].config.get("map")) for group in members]
        if len(strata) < 2 or len(set(maps)) < len(maps):
            continue
        statistic = report_statistics.interquartile_mean
        known = members[0].runs[0].config
        label = f"{known.get('algorithm')}, {known.get('schedule')}: {', '.join(maps)}"
        runs = str(sum(map(len, strata)))
        rows.append([label, runs, "interquartile mean", *_estimate(strata, statistic)])
    if not rows:
        return []
    heads = ("over maps", "runs", "statistic", "win rate at the end", "95 % interval")
    return [table(heads, rows, caption="All maps of a setting together; maps are the strata")]


def _table(runs: Sequence[Run], labels: Sequence[str]) -> Html:
    heads = ("run", "what", "state", "env steps", "per second", "win rate", "best", "interval at "
             "the end", "books", "restarts")  # fmt: skip
    rows = []
    for run, label in zip(runs, labels, strict=True):
        known, summary = run.evaluations, run.summary
        steps, speed = summary.env_steps, summary.env_steps_per_second
        rows.append(
            [
                label,
                report_parts.title(run),
                report_parts.state(run)[0],
                "-" if steps is None else f"{steps:,.0f}",
                "-" if speed is None else f"{speed:,.0f}",
                wording.percent(known[-1].win_rate) if known else "-",
                wording.percent(max(one.win_rate for one in known)) if known else "-",
                report_parts.with_interval(known[-1]) if known else "-",
                report_parts.books(run)[0],
                wording.counts(summary.restarts) or "none",
            ]
        )
    return table(heads, rows)


def _times(runs: Sequence[Run], labels: Sequence[str]) -> list[Html]:
    cards = []
    for run, label in zip(runs, labels, strict=True):
        bars = report_parts.time_budget(run)
        cards.append(tag("div", tag("h3", label), *bars, class_="card"))
    return [tag("div", *cards, class_="charts wide")]


def _flows(runs: Sequence[Run], labels: Sequence[str]) -> Html:
    cards = [
        tag("div", tag("h3", label), report_flow.picture(run.summary), class_="card")
        for run, label in zip(runs, labels, strict=True)
    ]
    return tag("div", *cards, class_="charts")


def _differences(runs: Sequence[Run], labels: Sequence[str]) -> list[Html]:
    found = []
    sources: list[tuple[str, list[dict[str, Any]]]] = [
        ("configuration", [dict(run.config) for run in runs]),
        ("versions and machine", [dict(run.versions) for run in runs]),
    ]
    for name, documents in sources:
        keys = dict.fromkeys(key for document in documents for key in document)
        rows = [
            [key, *(str(document.get(key, "-"))[:200] for document in documents)]
            for key in keys
            if len({str(document.get(key, "-")) for document in documents}) > 1
        ]
        if rows:
            found.append(table((name, *labels), rows))
        else:
            found.append(tag("p", f"No difference in {name}."))
    return found
