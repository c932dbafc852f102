"""The parts of a report that are words, tables and bars: headline, time, books, restarts, settings.

Fed by `monitoring.report_source`; put together by `monitoring.report`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dm2_dist import config as configuration
from dm2_dist import presets
from monitoring import report_document, report_flow, report_plot, report_statistics, wording
from monitoring.report_document import Battle
from monitoring.report_markup import Html, section, table, tag
from monitoring.report_restarts import Restarts
from monitoring.report_source import Evaluation, Run

_MOST_RESTARTS = 400
_PLACE = ("demonstrations", "demonstrations_sha256", "scenario_sha256")
"""Keys that name files; they are no part of a preset."""
_PHASES = {
    "actor": ("play", "wait_ticket", "wait_parameters", "send", "settle", "wait_game"),
    "learner": ("ppo", "wait_data", "discriminator", "prepare", "checkpoint", "publish"),
}
"""The order fixes the colours, so that reports can be compared."""


def title(run: Run) -> str:
    """What was run, in a few words, for instance `5m_vs_6m, dm2, pipelined, seed 2`."""
    known = [run.config.get(key) for key in ("map", "algorithm", "schedule")]
    words = [str(value) for value in known if value is not None]
    return ", ".join([*words, *([f"seed {run.config['seed']}"] if "seed" in run.config else [])])


def state(run: Run) -> tuple[str, str]:
    """Words for how the run ended, and their class."""
    if run.summary.finished is None or run.outlived:
        return "no end recorded: it is going on, or was killed; --resume goes on then", "warn"
    if run.summary.failure:
        return "failed; --resume goes on once the cause is mended", "bad"
    if run.summary.finished:
        return "finished", "good"
    return "stopped early; --resume goes on", "warn"


def books(run: Run) -> tuple[str, str]:
    """Words for whether every trajectory is accounted for, and their class."""
    if run.summary.produced is None:
        return "not closed yet", "warn"
    if run.summary.error:
        return f"{abs(run.summary.error):,} unaccounted for", "bad"
    return "the books close", "good"


def with_interval(known: Evaluation) -> str:
    """The interval of a win rate in words."""
    low, high = report_statistics.wilson(known.win_rate, known.episodes)
    return f"{wording.percent(low)} to {wording.percent(high)}"


def headline(run: Run) -> list[Html]:
    """The name of the run, how it ended, and its main numbers."""
    (ended, ended_class), (closed, closed_class) = state(run), books(run)
    summary, known = run.summary, run.evaluations
    tiles = [_tile("win rate, at the end", "-"), _tile("win rate, best", "-")]
    if known:
        best = max(known, key=lambda one: one.win_rate)
        at = f"at {report_plot.short(best.env_steps)} steps, {with_interval(best)}"
        near = f"{with_interval(known[-1])}, {known[-1].episodes} episodes"
        tiles = [
            _tile("win rate, at the end", wording.percent(known[-1].win_rate), near),
            _tile("win rate, best", wording.percent(best.win_rate), at),
        ]
    if run.level is not None:
        told = f"{run.level.episodes:,} recorded episodes"
        tiles.append(_tile("demonstrators", wording.percent(run.level.win_rate), told))
    steps, iterations = summary.env_steps, summary.iterations
    wall, speed = summary.wall_seconds, summary.env_steps_per_second
    tiles += [
        _tile("env steps", _whole(steps), f"{_whole(iterations)} iterations"),
        _tile("env steps per second", _whole(speed)),
        _tile("wall-clock", "-" if wall is None else wording.duration(wall)),
        _tile("restarts", wording.counts(summary.restarts) or "none"),
    ]
    mark = tag("span", ended, class_=f"badge {ended_class}")
    ledger = tag("span", closed, class_=f"badge {closed_class}")
    first = tag("header", tag("h1", run.name), tag("p", title(run)), mark, ledger)
    return [first, *problems(run.problems), tag("dl", *tiles, class_="tiles")]


def problems(sentences: Sequence[str]) -> list[Html]:
    """What could not be read; nothing if all could."""
    if not sentences:
        return []
    told = tag("ul", *(tag("li", sentence) for sentence in sentences))
    return [tag("div", tag("b", "About the files"), told, class_="problems")]


def _tile(name: str, value: str, more: str = "") -> Html:
    below = tag("small", more) if more else ""
    return tag("div", tag("dt", name), tag("dd", value, below))


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def time_budget(run: Run) -> list[Html]:
    """Where actors and learners spent their time, as bars, and who waited for whom."""
    shares = {role: dict(run.summary.time_share.get(role, {})) for role in _PHASES}
    if not any(sum(phases.values()) > 0 for phases in shares.values()):
        return [tag("p", "The run has recorded no time yet.", class_="note")]
    schedule = str(run.config.get("schedule", ""))
    told = wording.bottleneck(shares["actor"], [shares["learner"]], schedule)
    bars = [bar(f"{role}s", role, phases) for role, phases in shares.items()]
    return [tag("p", told[0].upper() + told[1:] + "."), *bars]


def bar(name: str, role: str, phases: Mapping[str, float]) -> Html:
    """The time of a role as a bar of its phases."""
    order = {phase: colour for colour, phase in enumerate(_PHASES[role])}
    parts = wording.shares(phases)
    known = sorted(parts, key=lambda phase: order.get(phase, 7))
    shown = [(phase, order.get(phase, 7), parts[phase]) for phase in known if parts[phase] > 0]
    if not shown:
        return tag("div", tag("h3", name), tag("p", "no time recorded", class_="note"))
    words = [(f"{phase.replace('_', ' ')} {wording.percent(part)}", c) for phase, c, part in shown]
    strips = [
        tag("i", class_=f"c{colour % report_plot.COLOURS}", style=f"flex:{part:.4f}", title=text)
        for (_, colour, part), (text, _) in zip(shown, words, strict=True)
    ]
    strip = tag(
        "div", *strips, class_="share", role="img", aria_label=", ".join(word for word, _ in words)
    )
    return tag("div", tag("h3", name), strip, report_plot.legend(words))


def ledger(run: Run) -> list[Html]:
    """Where the trajectories went."""
    closed, kind = books(run)
    told = "Every trajectory that was produced is trained on, dropped for a reason, or lost with a "
    words = tag("p", f"{told}counted cause: ", tag("b", closed, class_=kind), ".")
    return [words, tag("div", report_flow.picture(run.summary), class_="card")]


def restarts(run: Run) -> list[Html]:
    """Which processes died and came back, on a time line."""
    known = run.restarts
    if not known.events:
        counted = sum(run.summary.restarts.values())
        if counted:
            told = "The launcher's log, which would tell when, cannot be found."
            return [tag("p", f"{wording.counts(run.summary.restarts)} restarted. {told}")]
        return [tag("p", "No process died unexpectedly.")]
    events = known.events[:_MOST_RESTARTS]
    names = sorted({event.name for event in events})
    rows = [_row(name, known) for name in names[:40]]
    ends = tag(
        "div", tag("span", "0:00"), tag("span", wording.duration(known.span)), class_="times"
    )
    cells = [(wording.duration(event.seconds), event.name, event.cause) for event in events]
    spoken = table(("time", "process", "cause"), cells)
    cut = len(known.events) - len(events)
    more = [tag("p", f"{cut:,} more are in the log.", class_="note")] if cut else []
    listed = tag(
        "details", tag("summary", f"{len(known.events):,} restarts, listed"), spoken, *more
    )
    return [tag("div", *rows, ends, class_="card"), listed]


def _row(name: str, known: Restarts) -> Html:
    dots = [
        tag(
            "i",
            style=f"left:{event.seconds / max(known.span, 1e-9):.2%}",
            title=f"{wording.duration(event.seconds)} {event.cause}",
        )
        for event in known.events[:_MOST_RESTARTS]
        if event.name == name
    ]
    return tag("div", tag("b", name), *dots, class_="line")


def discriminator_health(run: Run) -> list[Html]:
    """What the last fifth of the accuracies says, in a sentence."""
    series = run.metrics.get("discriminator_accuracy", {})
    if not series:
        return []
    recent = [float(np.mean(y[-max(len(y) // 5, 1) :])) for _, y in series.values()]
    accuracy = sum(recent) / len(recent)
    told = "neither blind nor unbeatable, as it should be."
    if accuracy > 0.95:
        told = (
            "hardly ever wrong: the demonstrations cannot be matched like this. Another map, "
            "another team size, or demonstrators that are too strong?"
        )
    elif accuracy < 0.55:
        told = (
            "hardly better than a coin: the team looks like its demonstrators, or the "
            "discriminators do not learn (then the logits stay at 0)."
        )
    words = f"Lately the discriminators were right in {wording.percent(accuracy)}: {told}"
    return [tag("p", words)]


def lag(run: Run) -> list[Html]:
    """What the schedule says about lag."""
    match run.config.get("schedule"):
        case "sync":
            return [
                tag("p", "Schedule sync: every batch is played by the policy it trains; lag 0.")
            ]
        case "pipelined":
            told = "Schedule pipelined: every batch is played by the policy before; lag exactly 1."
            return [tag("p", told)]
        case "async":
            most = run.config.get("asynchrony.max_lag")
            bound = "" if most is None else f" No more than {most} versions are allowed."
            return [tag("p", f"Schedule async: the lag varies.{bound}")]
    return []


def replays(battles: Sequence[Battle], note: str) -> list[Html]:
    """Battles that play in the page, and why there are no others."""
    shown = [
        tag("div", tag("h3", battle.title), report_document.frame(battle)) for battle in battles
    ]
    words = [tag("p", note, class_="note")] if note else []
    return [*words, tag("div", *shown, class_="charts wide")]


def settings(run: Run) -> list[Html]:
    """The configuration: what differs from its preset, then all of it; versions and machine."""
    name = str(run.config.get("preset", ""))
    changed = against_preset(run.config, name)
    found: list[Html] = []
    if changed is None:
        found.append(tag("p", f"There is no preset {name!r} here to compare with."))
    elif not changed:
        found.append(tag("p", f"Exactly the preset {name}."))
    else:
        words = f"Different from the preset {name}"
        found.append(table(("key", "preset", "this run"), changed, caption=words))
    rows = [(key, _shown(value)) for key, value in run.config.items()]
    found.append(tag("details", tag("summary", "All of it"), table(("key", "value"), rows)))
    return found


def against_preset(config: Mapping[str, Any], name: str) -> list[tuple[str, str, str]] | None:
    """Key, preset's value and the run's, of all that differ; None if there is no such preset."""
    make = presets.PRESETS.get(name)
    if make is None:
        return None
    preset = configuration.flatten(make())
    return [
        (key, _shown(preset.get(key, "-")), _shown(value))
        for key, value in config.items()
        if key not in _PLACE and preset.get(key, "-") != value
    ]


def _shown(value: object) -> str:
    return str(value)[:500] if value != "" else "(empty)"


def versions(run: Run) -> list[Html]:
    """With what the run was made, and the digests of what it came to."""
    rows = [(key, value or "unknown") for key, value in run.versions.items()]
    found = [table(("what", "version"), rows)] if rows else []
    digests = [(agent, digest) for agent, digest in run.summary.parameters.items()]
    if digests:
        told = "Equal digests mean the same result, bit for bit"
        inner = table(("agent", "SHA-256 of its final parameters"), digests, caption=told)
        found.append(tag("details", tag("summary", "Digests of the parameters"), inner))
    return found


def single(run: Run, battles: Sequence[Battle], note: str) -> list[tuple[str, str, list[Html]]]:
    """The sections after the curves: anchor, title and content."""
    return [
        ("time", "Time", time_budget(run)),
        ("trajectories", "Trajectories", ledger(run)),
        ("restarts", "Restarts", restarts(run)),
        ("battles", "Battles", replays(battles, note)),
        ("configuration", "Configuration", settings(run)),
        ("versions", "Versions and machine", versions(run)),
    ]


def sections(parts: Sequence[tuple[str, str, list[Html]]]) -> list[Html]:
    """Sections from anchor, title and content."""
    return [section(name, heading, *content) for name, heading, content in parts if content]
