"""What a scrape is answered with: the text format of Prometheus, whose constant parts are kept.

`prometheus_client` builds objects for every sample and escapes every label at every scrape; here
the beginning of each line is made once. It says the same, sample by sample (tests compare them).
Used by `monitoring.samples`; served by `monitoring.exporter`.
"""

from collections.abc import Callable, Iterable, Mapping

import prometheus_client
from prometheus_client import core

from monitoring import catalogue
from monitoring.catalogue import Metric
from monitoring.histogram import Histogram

_INFINITY = float("inf")


class Registry(prometheus_client.CollectorRegistry):
    """A registry that knows a faster way to its text than through its families."""

    def __init__(self, text: Callable[[], bytes]) -> None:
        """Begin without collectors; text: all that they would say, in UTF-8."""
        super().__init__()
        self.text = text


class Page:
    """Lines of one process, written scrape by scrape."""

    def __init__(self, constant: Mapping[str, str]) -> None:
        """Begin; constant: labels that every line of a row carries."""
        self._constant = dict(constant)
        self._heads: dict[str, str] = {}
        self._starts: dict[tuple[str, str], str] = {}

    def row(self, row: Metric, amounts: Mapping[str, float]) -> list[str]:
        """Lines of a counter or a gauge; amounts: by value of its label, if any."""
        lines = [self._head(row.name, row.kind, row.help)]
        for value, amount in amounts.items():
            start = self._starts.get((row.name, value))
            if start is None:
                varying = {row.label: value} if row.label else {}
                start = self._start(row.name, value, varying)
            lines.append(f"{start}{number(amount)}\n")
        return lines

    def histogram(self, row: Metric, known: Histogram) -> list[str]:
        """Lines of a histogram."""
        lines = [self._head(row.name, row.kind, row.help)]
        total = 0.0
        for bound, total in known.buckets():
            name = f"{row.name}_bucket"
            start = self._starts.get((name, bound)) or self._start(name, bound, {"le": bound})
            lines.append(f"{start}{number(total)}\n")
        for name, amount in ((f"{row.name}_count", total), (f"{row.name}_sum", known.total)):
            start = self._starts.get((name, "")) or self._start(name, "", {})
            lines.append(f"{start}{number(amount)}\n")
        return lines

    def families(self, families: Iterable[core.Metric]) -> list[str]:
        """Lines of families without labels, as those about the process."""
        lines = []
        for family in families:
            name = f"{family.name}_total" if family.type == catalogue.COUNTER else family.name
            lines.append(self._head(name, family.type, family.documentation))
            lines += [f"{sample.name} {number(sample.value)}\n" for sample in family.samples]
        return lines

    def _head(self, name: str, kind: str, text: str) -> str:
        known = self._heads.get(name)
        if known is None:
            text = text.replace("\\", r"\\").replace("\n", r"\n")
            known = self._heads[name] = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
        return known

    def _start(self, name: str, value: str, varying: Mapping[str, str]) -> str:
        labels = sorted((self._constant | dict(varying)).items())
        inside = ",".join(f'{label}="{_escape(text)}"' for label, text in labels)
        start = f"{name}{{{inside}}} " if inside else f"{name} "
        self._starts[name, value] = start
        return start


def number(amount: float) -> str:
    """A value as Prometheus reads it."""
    amount = float(amount)
    if amount - amount == 0.0:
        return repr(amount)
    if amount == _INFINITY:
        return "+Inf"
    return "-Inf" if amount == -_INFINITY else "NaN"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
