"""Which runs are runs of one setting: their configurations differ in nothing but the seed.

Used by `monitoring.report_comparison`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dm2_dist import config as configuration
from dm2_dist.config import RunConfig
from monitoring import report_parts, report_statistics
from monitoring.report_source import Run

_NOT_THE_SETTING = ("seed", "max_env_steps", "demonstrations")
_OF_A_MAP = ("map", "preset", "scenario_sha256", "demonstrations_sha256")
_ENOUGH = 4
"""Runs from which on the middle half is taken instead of the mean."""


_DEFAULTS = configuration.flatten(RunConfig())
_SPOKEN = {"demonstrations_sha256": "demonstrations ", "scenario_sha256": "scenario "}
_PLAIN = ("preset", "map", "algorithm", "schedule")
"""Keys whose values say enough."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Runs that differ in nothing but the seed.

    label: what sets it apart from the other settings.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def statistic(self) -> tuple[str, report_statistics.Statistic]:
        """Name and function of what is drawn for these runs together."""
        if len(self.runs) >= _ENOUGH:
            return "interquartile mean", report_statistics.interquartile_mean
        return "mean", report_statistics.mean


def group(runs: Sequence[Run]) -> list[Setting]:
    """Group runs by their settings, in the order in which they come."""
    groups: dict[str, list[Run]] = {}
    for index, run in enumerate(runs):
        known = [pair for pair in _filled(run).items() if pair[0] not in _NOT_THE_SETTING]
        groups.setdefault(repr(sorted(known)) if run.config else f"? {index}", []).append(run)
    apart = _apart([members[0] for members in groups.values()])
    found = []
    for members in groups.values():
        first = members[0]
        filled = _filled(first)
        pairs = [_words(key, str(filled.get(key))) for key in apart if filled.get(key) != ""]
        if len(apart) > 4 or not first.config:
            pairs = [report_parts.title(first) or first.name]
        found.append(Setting(", ".join(pairs) or report_parts.title(first), tuple(members)))
    return found


def _words(key: str, value: str) -> str:
    return value[:40] if key in _PLAIN else f"{_SPOKEN.get(key, f'{key} ')}{value[:40]}"


def _apart(runs: Sequence[Run]) -> list[str]:
    keys = dict.fromkeys(key for run in runs for key in run.config)
    return [
        key
        for key in keys
        if key not in _NOT_THE_SETTING and len({str(_filled(run).get(key)) for run in runs}) > 1
    ]


def _filled(run: Run) -> dict[str, Any]:
    """The configuration; keys that did not exist when it was written have their defaults."""
    digests = ("demonstrations_sha256", "scenario_sha256")
    known = _DEFAULTS | dict(run.config)
    return {key: str(value)[:8] if key in digests else value for key, value in known.items()}


def but_for_the_map(run: Run) -> str:
    """Equal for runs that differ in nothing but the seed and what belongs to their map."""
    skipped = (*_NOT_THE_SETTING, *_OF_A_MAP)
    return repr(sorted(pair for pair in _filled(run).items() if pair[0] not in skipped))
