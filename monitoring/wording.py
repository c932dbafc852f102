"""Numbers of a run as words: durations, shares, and the sentence that names the bottleneck.

Pure functions, so that the view, the plain lines and the final summary say the same thing.
Used by `monitoring.panel`, `monitoring.progress` and `monitoring.summary`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Phases = Mapping[str, float]
"""Seconds by phase."""

BUSY = 0.8
"""Share of its time from which a side counts as the one that sets the pace."""
UNEVEN = 0.3
"""So much busier than the median learner: this learner alone sets the pace."""
SLOW_WIRE = 0.3
"""Share of an actor's time in sending that is too much."""

_GOING_ON = ("starting", "training", "degraded")
_ACTOR_WAITS = ("wait_ticket", "wait_parameters", "settle")
_ACTIVITIES = {"wait_data": "collect", "checkpoint": "commit"}
_LEVELS = "▁▂▃▄▅▆▇█"


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, for instance `3:12` or `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def left(report: Mapping[str, Any]) -> str:
    """Time left at the present pace, for instance `3:45 left`; "" if it is not known or over."""
    seconds = report["seconds_left"]
    if seconds is None or report["state"] not in _GOING_ON:
        return ""
    return f"{duration(seconds)} left"


def percent(fraction: float | None) -> str:
    """For instance `84 %`; `-` if it is not known yet. Only what is all or nothing says so."""
    if fraction is None:
        return "-"
    rounded = round(fraction * 100)
    if fraction > 0:
        rounded = max(rounded, 1)
    if fraction < 1:
        rounded = min(rounded, 99)
    return f"{rounded} %"


def counts(amounts: Mapping[str, int]) -> str:
    """The ones that are not 0, largest first, for instance `stale 4, corrupt 1`."""
    ordered = sorted(amounts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {amount:,}" for name, amount in ordered if amount)


def clean(text: str) -> str:
    """One line that a terminal only shows: what would move its cursor or its colours is `?`."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))


def sparkline(fractions: Sequence[float], width: int) -> str:
    """The last `width` values between 0 and 1 as bars."""
    top = len(_LEVELS) - 1
    newest = fractions[-width:] if width > 0 else ()
    return "".join(_LEVELS[min(top, int(value * len(_LEVELS)))] for value in newest)


def silence(silent: Mapping[str, float]) -> str:
    """Who says nothing and for how long, for instance `actor-3 for 4 s, learner-0 for 1:12`."""
    return ", ".join(f"{name} for {_short(seconds)}" for name, seconds in silent.items())


def _short(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 59.5 else duration(seconds)


def lag(metrics: Sequence[Mapping[str, float]]) -> str:
    """How old the policies were that played what the learners trained on last; "" if not known.

    metrics: of each learner. The means are averaged, of the largest the largest is named, of the
    effective sample sizes the smallest.
    """
    parts = []
    for name, who in (("lag", "own"), ("peer_lag", "others'")):
        means = [known[f"{name}_mean"] for known in metrics if f"{name}_mean" in known]
        largest = [known[f"{name}_max"] for known in metrics if f"{name}_max" in known]
        if means and largest:
            parts.append(f"{who} {sum(means) / len(means):.1f}, max {max(largest):.0f}")
    sizes = [
        known["effective_sample_size"] for known in metrics if "effective_sample_size" in known
    ]
    if parts and sizes:
        parts.append(f"effective sample {percent(min(sizes))}")
    return " · ".join(parts)


def shares(phases: Phases) -> dict[str, float]:
    """Each phase's part of the whole; empty if no time was spent."""
    total = sum(phases.values())
    return {name: seconds / total for name, seconds in phases.items()} if total > 0 else {}


def activity(phases: Phases) -> str:
    """What a learner mostly did in this time, for instance `ppo 71 %`."""
    parts = shares(phases)
    if not parts:
        return "idle"
    name = max(parts, key=lambda phase: parts[phase])
    return f"{_ACTIVITIES.get(name, name)} {percent(parts[name])}"


def bottleneck(actors: Phases, learners: Sequence[Phases], schedule: str) -> str:
    """One sentence: who sets the pace, and who waits for whom.

    actors: seconds of all actors together.
    learners: seconds of each learner.
    """
    actor = shares(actors)
    busy = [1.0 - parts.get("wait_data", 0.0) for parts in map(shares, learners) if parts]
    if not actor or not busy:
        return "too early to name the bottleneck"
    playing, sending = actor.get("play", 0.0), actor.get("send", 0.0)
    waiting = sum(actor.get(phase, 0.0) for phase in _ACTOR_WAITS)
    idle = 1.0 - sum(busy) / len(busy)
    if max(busy) >= BUSY and playing >= BUSY:
        return f"well balanced: actors play {percent(playing)}, learners work {percent(1.0 - idle)}"
    if max(busy) >= BUSY:
        return f"{_slowest(busy)}, actors wait {percent(waiting)}"
    if playing >= BUSY:
        return (
            f"actors are the bottleneck: they play {percent(playing)} of the time, "
            f"learners wait {percent(idle)}"
        )
    if sending >= SLOW_WIRE:
        return (
            f"the wire is the bottleneck: actors send {percent(sending)}, "
            f"learners wait {percent(idle)}"
        )
    who = "actors and learners take turns" if schedule == "sync" else "nobody is busy all the time"
    return f"{who}: actors wait {percent(waiting)}, learners wait {percent(idle)}"


def _slowest(busy: Sequence[float]) -> str:
    median = sorted(busy)[len(busy) // 2]
    if len(busy) > 1 and max(busy) - median >= UNEVEN:
        return f"one learner is the bottleneck: busy {percent(max(busy))}, others {percent(median)}"
    return f"learners are the bottleneck: busy {percent(max(busy))} of the time"
