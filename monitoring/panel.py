"""The picture of a run on a terminal: one rich panel that fits its height, or the same as lines.

Pure: a report in, a renderable out; what to show was decided by `monitoring.progress`.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from monitoring import learner_table, wording
from monitoring.wording import Phases

MAX_LINES = 38
MAX_WIDTH = 120
LABEL = 10
_FRAME = 4
"""Columns of the frame and the air beside it."""
_GAPS = 3
"""Empty lines between the blocks, where there is room for them."""
_LONGEST_SPARKLINE = 48
_LINES_WIDTH = 100

_STATE_STYLES = {
    "starting": "yellow",
    "training": "cyan",
    "degraded": "yellow",
    "draining": "yellow",
    "finished": "green",
    "stopped": "yellow",
    "cut off": "bold red",
    "failed": "bold red",
}
_ASCII = str.maketrans("▁▂▃▄▅▆▇█·≈│…", "01234567-~|.")


def render(
    report: Mapping[str, Any],
    bottleneck: str,
    learner_phases: Mapping[int, Phases],
    events: Sequence[str],
    size: tuple[int, int] = (80, 20),
) -> Panel:
    """The panel of one moment.

    bottleneck: the sentence about who waits for whom.
    learner_phases: by agent, the seconds each learner spent recently.
    events: newest last.
    size: columns and lines that it may take.
    """
    width = min(size[0], MAX_WIDTH) - _FRAME
    max_lines = min(size[1], MAX_LINES)
    head: list[RenderableType] = [_bar(report), _pace(report)]
    middle: list[RenderableType] = [*_facts(report, width)]
    middle.append(_line(Text(bottleneck, style="bold")))
    room = max_lines - 2 - len(head) - len(middle)
    tail = _events(events, room - learner_table.num_lines(report) - _GAPS, width)
    space = room - len(tail)
    learners, used = learner_table.render(report, learner_phases, space, width)
    blocks = [block for block in (head, middle, [learners], tail) if block]
    spread = space - used >= len(blocks) - 1
    rows: list[RenderableType] = []
    for block in blocks:
        rows += [Text(""), *block] if rows and spread else block
    return Panel(
        Group(*rows),
        title=Text(_title(report), style="bold not dim"),
        title_align="left",
        subtitle=Text(report["run_directory"], style="dim"),
        subtitle_align="right",
        border_style="dim",
        width=width + _FRAME,
    )


def _events(events: Sequence[str], room: int, width: int) -> list[RenderableType]:
    """The newest events, newest last, each on at most two lines; three lines are always theirs."""
    shown: list[str] = []
    for text in reversed(events):
        folded = textwrap.wrap(
            text, width, max_lines=2, placeholder="…", initial_indent="· ", subsequent_indent="  "
        )
        if len(shown) + len(folded) > max(room, 3):
            break
        shown = folded + shown
    return [_line(Text(text, style="dim")) for text in shown]


def lines(
    report: Mapping[str, Any],
    bottleneck: str,
    learner_phases: Mapping[int, Phases],
    *,
    ascii_only: bool,
) -> str:
    """The same as plain lines, without frame and colours, and with all events that are known."""
    width = _LINES_WIDTH
    table, _ = learner_table.render(report, learner_phases, 10_000, width)
    done, total = report["env_steps"], report["max_env_steps"]
    share = wording.percent(min(1.0, done / total))
    rows: list[RenderableType] = [
        Text(f"{_title(report)} · {report['run_directory']}"),
        Text(f"{done:,} of {total:,} env steps, {share}"),
        _pace(report),
        *_facts(report, width),
        Text(bottleneck),
        table,
        *(Text(f"· {wording.clean(text)}") for text in report["events"]),
    ]
    console = Console(file=io.StringIO(), width=10_000, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(Group(*rows))
    text = "\n".join(line.rstrip() for line in capture.get().splitlines())
    return text.translate(_ASCII).encode("ascii", "replace").decode() if ascii_only else text


def is_over(report: Mapping[str, Any]) -> bool:
    """Whether nobody takes part in the run any more: its report was made from its files."""
    return bool(report["phase"] == "over")


def _title(report: Mapping[str, Any]) -> str:
    keys = ("map", "algorithm", "schedule", "preset")
    return " · ".join([*(str(report[key]) for key in keys), f"seed {report['seed']}"])


def _facts(report: Mapping[str, Any], width: int) -> list[Text]:
    """Strength, actors, silence, ledger and lag; `width` columns each."""
    rows = [_strength(report, width), *_actors(report), *_ledger(report)]
    lag = wording.lag([learner["metrics"] for learner in report["learners"]])
    return [*rows, _row("lag", Text(lag))] if lag else rows


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _row(label: str, text: Text) -> Text:
    return _line(Text.assemble((f"{label:{LABEL}}", "dim"), text))


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
    state, left = report["state"], wording.left(report)
    since = wording.duration(report["wall_seconds"])
    since = f" after {since}" if is_over(report) else f" {since}"
    remaining = f", {left}" if left else ""
    return _line(
        Text.assemble(
            (state, _STATE_STYLES.get(state, "")),
            f"{since}{remaining} · {report['env_steps_per_second']:,.0f} env steps/s"
            f" · iteration {report['iterations']:,} · lag {_bound(report)}",
        )
    )


def _bound(report: Mapping[str, Any]) -> str:
    """In `async` the schedule only bounds the lag; else it is given."""
    return f"≤ {report['lag']}" if report["schedule"] == "async" else str(report["lag"])


def _strength(report: Mapping[str, Any], width: int) -> Text:
    level = report["demonstrators"]
    if report["win_rate"] is None:
        text = Text("not evaluated yet", style="dim")
        if level is not None:
            text.append(f" · demonstrators {wording.percent(level)}", style="yellow")
        return _row("win rate", text)
    rates = [evaluation["win_rate"] for evaluation in report["evaluations"]]
    text = Text.assemble((wording.percent(report["win_rate"]), "bold"))
    text.append(f" · best {wording.percent(report['win_rate_best'])}")
    if level is not None:
        text.append(f" · demonstrators {wording.percent(level)}", style="yellow")
    if report["return_mean"] is not None:
        text.append(f" · return {report['return_mean']:.2f}")
    text.append("  ")
    room = width - LABEL - len(text) - (2 if level is not None else 0)
    shown = rates[-min(room, _LONGEST_SPARKLINE) :] if room > 0 else []
    for rate in shown:
        reached = level is not None and rate >= level
        text.append(wording.sparkline([rate], 1), style="bold bright_green" if reached else "green")
    if level is not None and shown:
        text.append(f"│{wording.sparkline([level], 1)}", style="yellow")
    return _row("win rate", text)


def _actors(report: Mapping[str, Any]) -> list[Text]:
    actors = report["actors"]
    if is_over(report):
        text = Text(f"restarted: {wording.counts(report['restarts']) or 'none'}")
        return [_row("processes", text)]
    text = Text(
        f"{actors['alive']} alive, {actors['playing']} playing, {actors['waiting']} waiting"
    )
    restarts = wording.counts(report["restarts"])
    if restarts:
        text.append(f" · restarted: {restarts}", style="yellow")
    rows = [_row("actors", text)]
    if report["silent"]:
        rows.append(_row("silent", Text(wording.silence(report["silent"]), style="bold yellow")))
    return rows


def _ledger(report: Mapping[str, Any]) -> list[Text]:
    if report["state"] == "cut off":
        return [_row("ledger", Text("not closed: no end was written; go on with --resume"))]
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
    in_doubt = {"in doubt": ledger["in_doubt"]}
    causes = wording.counts({**ledger["dropped"], **ledger["lost"], **in_doubt})
    if causes:
        rows.append(_row("", Text(causes, style="yellow")))
    return rows
