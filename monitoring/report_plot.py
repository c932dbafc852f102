"""Curves as SVG: lines with bands on nice axes, readable without a script.

The page's script reads positions back from `data-frame` and the points, to show values under the
pointer. Fed by `monitoring.report_curves`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from monitoring.report_markup import Html, tag
from monitoring.report_statistics import Floats

COLOURS = 8
"""Colours for lines, `.c0` to `.c7` in the style sheet; then they begin again."""

_WIDTH, _HEIGHT = 420, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 32
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: x and y [N], band: lower and upper bounds [N] each, or None."""

    label: str
    x: Floats
    y: Floats
    colour: int = 0
    band: tuple[Floats, Floats] | None = None
    dashed: bool = False
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A level that the curves are to be compared with."""

    label: str
    value: float
    colour: int | None = None


@dataclass(frozen=True, slots=True)
class Axes:
    """What the axes show.

    limits: of y, where they are known; None takes those of the curves.
    logarithmic: y is shown by its decimal logarithm; values must be positive.
    """

    x_label: str = "training env steps"
    unit: str = ""
    limits: tuple[float, float] | None = None
    logarithmic: bool = False


class _Frame(NamedTuple):
    """Ranges that the plot shows; y as a logarithm where the axis is logarithmic."""

    left: float
    right: float
    low: float
    high: float

    def x(self, values: Floats) -> Floats:
        span = _WIDTH - _LEFT - _RIGHT
        return _LEFT + (values - self.left) / (self.right - self.left) * span

    def y(self, values: Floats) -> Floats:
        span = _HEIGHT - _TOP - _BOTTOM
        shown = _HEIGHT - _BOTTOM - (values - self.low) / (self.high - self.low) * span
        return np.clip(shown, _TOP, _HEIGHT - _BOTTOM)


def chart(
    title: str, lines: Sequence[Line], axes: Axes, *, rules: Sequence[Rule] = (), note: str = ""
) -> Html:
    """A titled picture of curves, with what they mean.

    Args:
        title: what is shown; also told to those who do not see it.
        lines: at least one, of at least one finite point each.
        axes: what the axes show.
        rules: levels to compare with.
        note: a sentence below the title.
    """
    frame = _frame(lines, axes, rules)
    parts = [*_grid(frame, axes)]
    parts += [_band(line, frame, axes) for line in lines if line.band is not None]
    parts += [_rule(rule, frame, axes) for rule in rules]
    parts += [_curve(line, frame, axes) for line in lines]
    shown = "; ".join(f"{line.label} ends at {short(float(line.y[-1]))}" for line in lines[:8])
    picture = tag(
        "svg",
        tag("title", title),
        tag("desc", shown),
        *parts,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{title}: {shown}",
        data_frame=" ".join(f"{part:.9g}" for part in (*frame, _LEFT, _RIGHT, _TOP, _BOTTOM)),
        data_log="1" if axes.logarithmic else None,
    )
    heading = [tag("b", title), tag("span", axes.unit, class_="unit") if axes.unit else ""]
    caption = tag("figcaption", *heading, tag("span", note, class_="note") if note else "")
    return tag("figure", caption, picture, class_="chart")


def legend(labels: Sequence[tuple[str, int]]) -> Html:
    """Which colour is whose."""
    items = [tag("li", tag("i", class_=f"c{colour % COLOURS}"), text) for text, colour in labels]
    return tag("ul", *items, class_="legend")


def short(value: float) -> str:
    """A number in few letters, for instance `1.2 M`, `0.043` or `3.1e-07`."""
    size = abs(value)
    if size == 0:
        return "0"
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            scaled = value / {"G": 1e9, "M": 1e6, "k": 1e3}[letter]
            return f"{scaled:.4g} {letter}" if abs(scaled) < 1e6 else f"{value:.1e}"
    return f"{value:.1e}" if size < 1e-4 else f"{value:.4g}"


def _frame(lines: Sequence[Line], axes: Axes, rules: Sequence[Rule]) -> _Frame:
    x = np.concatenate([line.x for line in lines])
    left, right = _apart(min(float(x.min()), 0.0), float(x.max()))
    if axes.limits is not None:
        return _Frame(left, right, *axes.limits)
    known = [line.y for line in lines] + [np.array([rule.value]) for rule in rules]
    known += [bound for line in lines if line.band is not None for bound in line.band]
    y = _scaled(np.concatenate(known), axes)
    low, high = float(y.min()), float(y.max())
    low, high = _apart(low, high)
    spare = (high - low) * 0.06
    touches = low >= 0 and low - spare < 0 and not axes.logarithmic
    return _Frame(left, right, 0.0 if touches else low - spare, high + spare)


def _apart(low: float, high: float) -> tuple[float, float]:
    """A range that is wide enough to be drawn, around what is known."""
    least = max(abs(low), abs(high)) * 1e-6 or 1.0
    if high - low >= least:
        return low, high
    return (0.0, least) if low == 0 else (low - least / 2, high + least / 2)


def _scaled(values: Floats, axes: Axes) -> Floats:
    return np.log10(np.maximum(values, _LEAST)) if axes.logarithmic else values


def _ticks(low: float, high: float, wanted: int) -> Floats:
    """Round numbers within a range, about so many."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= rough)
    return _multiples(step, low, high)


def _multiples(step: float, low: float, high: float) -> Floats:
    first, last = math.ceil(low / step), math.floor(high / step)
    return np.array([index * step for index in range(first, last + 1)], np.float64)


def _grid(frame: _Frame, axes: Axes) -> list[Html]:
    bottom, parts = _HEIGHT - _BOTTOM, []
    decades = axes.logarithmic and frame.high - frame.low >= 1
    values = _ticks(frame.low, frame.high, 4)
    if decades:
        step = max(math.ceil((frame.high - frame.low) / 5), 1)
        values = _multiples(step, frame.low, frame.high)
    for value, y in zip(values, frame.y(values), strict=True):
        text = short(10**value) if axes.logarithmic else short(float(value))
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}"))
        parts.append(tag("text", text, x=_LEFT - 6, y=f"{y + 4:.1f}", class_="y"))
    places = _ticks(frame.left, frame.right, 4)
    for value, x in zip(places, frame.x(places), strict=True):
        parts.append(tag("text", short(float(value)), x=f"{x:.1f}", y=bottom + 16, class_="x"))
    parts.append(tag("text", axes.x_label, x=_WIDTH - _RIGHT, y=_HEIGHT - 3, class_="end"))
    parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=bottom, y2=bottom, class_="axis"))
    return parts


def _points(x: Floats, y: Floats) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _curve(line: Line, frame: _Frame, axes: Axes) -> Html:
    x, y = frame.x(line.x), frame.y(_scaled(line.y, axes))
    looks = f"c{line.colour % COLOURS}" + " dashed" * line.dashed + " faint" * line.faint
    curve = tag("polyline", points=_points(x, y), class_=looks, data_label=line.label)
    if len(x) > 1:
        return curve
    dot = tag("circle", cx=f"{x[0]:.1f}", cy=f"{y[0]:.1f}", r=3, class_=looks)
    return tag("g", curve, dot)


def _band(line: Line, frame: _Frame, axes: Axes) -> Html:
    assert line.band is not None, "drawn only where there is one"
    x = frame.x(line.x)
    low, high = (frame.y(_scaled(bound, axes)) for bound in line.band)
    if len(x) == 1:  # a band of one point has no width; a bar has
        bar = f"M{x[0]:.1f},{low[0]:.1f}V{high[0]:.1f}"
        return tag("path", d=bar, class_=f"bar c{line.colour % COLOURS}")
    around = _points(np.append(x, x[::-1]), np.append(high, low[::-1]))
    return tag("path", d=f"M{around}Z", class_=f"band c{line.colour % COLOURS}")


def _rule(rule: Rule, frame: _Frame, axes: Axes) -> Html:
    y = float(frame.y(_scaled(np.array([rule.value]), axes))[0])
    colour = "" if rule.colour is None else f" c{rule.colour % COLOURS}"
    across = tag(
        "line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_=f"rule{colour}"
    )
    above = y - 5 if y > _TOP + 16 else y + 13
    words = tag("text", rule.label, x=_WIDTH - _RIGHT - 3, y=f"{above:.1f}", class_="end")
    return tag("g", across, words)
