"""The picture of a run on a terminal: one rich panel of at most 20 lines at 80 columns.

Pure: a report in, a renderable out; what to show was decided by `monitoring.progress`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from monitoring import wording
from monitoring.wording import Phases

MAX_LINES = 20
MAX_WIDTH = 100
SPARKLINE_WIDTH = 32

_STATE_STYLES = {
    "starting": "yellow",
    "training": "cyan",
    "degraded": "yellow",
    "draining": "yellow",
    "finished": "green",
    "failed": "bold red",
}


def render(
    report: Mapping[str, Any],
    bottleneck: str,
    learner_phases: Mapping[int, Phases],
    events: Sequence[str],
    max_lines: int = MAX_LINES,
) -> Panel:
    """The panel of one moment.

    bottleneck: the sentence about who waits for whom.
    learner_phases: by agent, the seconds each learner spent recently.
    events: newest last.
    """
    head: list[RenderableType] = [_bar(report), _pace(report)]
    middle: list[RenderableType] = [_strength(report), _actors(report), *_ledger(report)]
    middle.append(_line(Text(bottleneck, style="bold")))
    tail: list[RenderableType] = [_line(Text(f"· {text}", style="dim")) for text in events]
    space = max_lines - 2 - len(head) - len(middle) - len(tail)
    learners, used = _learners(report["learners"], learner_phases, space)
    blocks = [block for block in (head, middle, [learners], tail) if block]
    spread = space - used >= len(blocks) - 1
    rows: list[RenderableType] = []
    for block in blocks:
        rows += [Text(""), *block] if rows and spread else block
    keys = ("map", "algorithm", "schedule", "preset")
    title = " · ".join([*(str(report[key]) for key in keys), f"seed {report['seed']}"])
    return Panel(
        Group(*rows),
        title=Text(title, style="bold not dim"),
        title_align="left",
        subtitle=Text(report["run_directory"], style="dim"),
        subtitle_align="right",
        border_style="dim",
    )


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _row(label: str, text: Text) -> Text:
    return _line(Text.assemble((f"{label:10}", "dim"), text))


def _bar(report: Mapping[str, Any]) -> Table:
    done, total = report["env_steps"], report["max_env_steps"]
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    share = wording.percent(min(1.0, done / total))
    grid.add_row(
        ProgressBar(total=total, completed=min(done, total), complete_style="cyan"),
        f"{done:,} / {total:,} env steps  {share}",
    )
    return grid


def _pace(report: Mapping[str, Any]) -> Text:
    state, left = report["state"], report["seconds_left"]
    since = f" {wording.duration(report['wall_seconds'])}"
    remaining = "" if left is None else f", {wording.duration(left)} left"
    return _line(
        Text.assemble(
            (state, _STATE_STYLES.get(state, "")),
            f"{since}{remaining} · {report['env_steps_per_second']:,.0f} env steps/s"
            f" · iteration {report['iterations']:,} · lag {report['lag']}",
        )
    )


def _strength(report: Mapping[str, Any]) -> Text:
    if report["win_rate"] is None:
        return _row("win rate", Text("not evaluated yet", style="dim"))
    rates = [evaluation["win_rate"] for evaluation in report["evaluations"]]
    text = Text.assemble((wording.percent(report["win_rate"]), "bold"))
    text.append(f" · best {wording.percent(report['win_rate_best'])}")
    if report["return_mean"] is not None:
        text.append(f" · return {report['return_mean']:.2f}")
    text.append(f"  {wording.sparkline(rates, SPARKLINE_WIDTH)}", style="green")
    return _row("win rate", text)


def _actors(report: Mapping[str, Any]) -> Text:
    actors = report["actors"]
    text = Text(
        f"{actors['alive']} alive, {actors['playing']} playing, {actors['waiting']} waiting"
    )
    restarts = wording.counts(report["restarts"])
    if restarts:
        text.append(f" · restarted: {restarts}", style="yellow")
    return _row("actors", text)


def _ledger(report: Mapping[str, Any]) -> list[Text]:
    ledger = report["ledger"]
    dropped, lost = sum(ledger["dropped"].values()), sum(ledger["lost"].values())
    known = ledger["trained"] + dropped + lost + ledger["in_flight"] + ledger["error"]
    # Heartbeats of many processes are no consistent cut: during a run the sum may be off a bit.
    sign = "=" if ledger["produced"] == known else "≈"
    text = Text(
        f"{ledger['produced']:,} {sign} {ledger['trained']:,} trained + {dropped:,} dropped"
        f" + {lost:,} lost + {ledger['in_flight']:,} open"
    )
    if ledger["error"]:
        text.append(f" + {ledger['error']:,} UNACCOUNTED", style="bold red")
    rows = [_row("ledger", text)]
    causes = wording.counts({**ledger["dropped"], **ledger["lost"]})
    if causes:
        rows.append(_row("", Text(causes, style="yellow")))
    return rows


def _learners(
    learners: Sequence[Mapping[str, Any]], phases: Mapping[int, Phases], space: int
) -> tuple[RenderableType, int]:
    """The table of learners in at most `space` lines, and the lines it takes."""
    if not learners:
        return Text("no learner is here yet", style="dim"), 1
    shown = list(learners)
    if len(learners) > space - 1:
        dead_first = sorted(learners, key=lambda learner: bool(learner["alive"]))
        shown = sorted(dead_first[: max(1, space - 2)], key=lambda learner: int(learner["agent"]))
    imitating = any("discriminator_accuracy" in learner["metrics"] for learner in learners)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=False)
    table.add_column("learner", min_width=8, no_wrap=True)
    table.add_column("version", justify="right", no_wrap=True)
    table.add_column("doing", min_width=18, no_wrap=True)
    for name in ("loss", "entropy", "KL", *(["accuracy"] if imitating else [])):
        table.add_column(name, min_width=7, justify="right", no_wrap=True)
    for learner in shown:
        table.add_row(*_cells(learner, phases.get(learner["agent"], {}), imitating))
    rest = len(learners) - len(shown)
    if not rest:
        return table, 1 + len(shown)
    return Group(table, Text(f"and {rest} more like these", style="dim")), 2 + len(shown)


def _cells(learner: Mapping[str, Any], phases: Phases, imitating: bool) -> list[Text]:
    metrics = learner["metrics"]
    doing = Text(wording.activity(phases)) if learner["alive"] else Text("down", style="bold red")
    cells = [
        Text(f"agent {learner['agent']}"),
        Text(f"{learner['version']:,}"),
        doing,
        _number(metrics.get("policy_loss"), "{:.3f}"),
        _number(metrics.get("entropy"), "{:.2f}"),
        _number(metrics.get("approx_kl"), "{:.4f}"),
    ]
    if imitating:
        cells.append(_number(metrics.get("discriminator_accuracy"), "{:.2f}"))
    return cells


def _number(value: float | None, form: str) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(form.format(value), style="" if math.isfinite(value) else "bold red")
