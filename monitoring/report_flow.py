"""The ledger as a flow: what became of what was produced, each branch as wide as its part.

Fed by the summary of a run; part of its report.
"""

from dataclasses import dataclass

from monitoring.report_markup import Html, tag
from monitoring.report_source import Summary

_WIDTH = 420
_LEFT, _RIGHT, _BAR = 8, 208, 12
_FLOW = 150.0
"""Height of everything produced together."""
_LEAST = 2.0
"""Height of the smallest branch: a single trajectory must be seen."""
_PLACE = 34.0
"""Height of a branch with its two lines of words."""
_TOP = 26


@dataclass(frozen=True, slots=True)
class Branch:
    """What became of so many trajectories; kind: `trained`, `dropped`, `lost` or `missing`."""

    kind: str
    label: str
    count: int


def branches(summary: Summary) -> list[Branch]:
    """Where the trajectories went, the large ones first within their kind; none that is empty."""
    found = [Branch("trained", "trained on", summary.trained)]
    for kind, amounts in (("dropped", summary.dropped), ("lost", summary.lost)):
        ordered = sorted(amounts.items(), key=lambda item: -item[1])
        found += [Branch(kind, f"{kind}: {_words(reason)}", count) for reason, count in ordered]
    found.append(Branch("missing", "unaccounted for", abs(summary.error)))
    return [branch for branch in found if branch.count > 0]


def picture(summary: Summary) -> Html:
    """The flow; a sentence where nothing was produced."""
    parts = branches(summary)
    total = sum(branch.count for branch in parts)
    if not total:
        return tag("p", "No trajectory was produced yet.", class_="note")
    heights = [max(branch.count / total * _FLOW, _LEAST) for branch in parts]
    places = [max(height, _PLACE) for height in heights]
    left = float(_TOP) + max(sum(places) - sum(heights), 0) / 2
    right, drawn = float(_TOP), list[Html]()
    bar = tag("rect", x=_LEFT, y=_n(left), width=_BAR, height=_n(sum(heights)), class_="produced")
    for branch, height, place in zip(parts, heights, places, strict=True):
        drawn.append(_branch(branch, left, right, height, branch.count / total))
        left += height
        right += place + 6
    words = tag("text", f"{summary.produced or total:,} produced", x=_LEFT, y=14, class_="strong")
    told = ", ".join(f"{branch.count:,} {branch.label}" for branch in parts)
    return tag(
        "svg",
        tag("title", "Where the trajectories went"),
        tag("desc", told),
        words,
        *drawn,
        bar,
        viewBox=f"0 0 {_WIDTH} {_n(right + 4)}",
        role="img",
        aria_label=f"{summary.produced or total:,} trajectories produced: {told}",
        class_="flow",
    )


def _branch(branch: Branch, left: float, right: float, height: float, share: float) -> Html:
    start, end, middle = _LEFT + _BAR, _RIGHT, (_LEFT + _BAR + _RIGHT) / 2
    above = f"M{start},{_n(left)}C{middle},{_n(left)} {middle},{_n(right)} {end},{_n(right)}"
    below = (
        f"V{_n(right + height)}C{middle},{_n(right + height)} {middle},{_n(left + height)} "
        f"{start},{_n(left + height)}Z"
    )
    label = right + min(height / 2 + 5, 14) if height < _PLACE else right + height / 2 - 3
    percent = f"{max(share * 100, 0.1):.1f} %"
    return tag(
        "g",
        tag("path", d=above + below, class_=f"branch {branch.kind}"),
        tag("rect", x=end, y=_n(right), width=_BAR, height=_n(height), class_=branch.kind),
        tag("text", branch.label, x=end + _BAR + 8, y=_n(label), class_="strong"),
        tag("text", f"{branch.count:,} ({percent})", x=end + _BAR + 8, y=_n(label + 15)),
    )


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def _n(value: float) -> str:
    return f"{value:.1f}"
