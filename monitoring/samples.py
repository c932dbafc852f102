"""The samples a process shows Prometheus: the catalogue's rows, filled with values.

The base of the roles' classes in `monitoring.metrics`; read by `monitoring.exporter`.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping

import prometheus_client
from prometheus_client import core
from prometheus_client.registry import Collector

import dm2_dist
from monitoring import catalogue
from monitoring.catalogue import Metric
from monitoring.exposition import Page, Registry
from monitoring.histogram import Histogram
from monitoring.time_budget import TimeBudget


class Samples(Collector):
    """The values of one process behind one lock.

    NOTE: values are kept here, not in prometheus_client's own counters, because those lock one by
    one and a scrape between two of them would see a ledger that does not add up.
    """

    def __init__(
        self, role: str, constant: dict[str, str], budget: TimeBudget | None = None
    ) -> None:
        self.registry = Registry(self.text)
        self._page = Page(constant)
        self._role = role
        self._constant = constant
        self._budget = budget
        self._lock = threading.RLock()
        self._rows = {row.name: row for row in catalogue.TABLE if role in row.roles}
        self._values = {name: _initial(row) for name, row in self._rows.items()}
        self._histograms = {
            name: Histogram(catalogue.LAG_BUCKETS)
            for name, row in self._rows.items()
            if row.kind == catalogue.HISTOGRAM
        }
        self._set("dm2_build_info", 1, dm2_dist.__version__)
        self.registry.register(self)
        self._process = prometheus_client.ProcessCollector(registry=self.registry)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Updates made inside reach a scrape all at once."""
        with self._lock:
            yield

    def collect(self) -> Iterable[core.Metric]:
        """The values as families; a scrape takes the short way, `text`."""
        with self._lock:
            self._note_phases()
            return [self._family(row) for row in self._rows.values()]

    def text(self) -> bytes:
        """What a scrape is answered with, in UTF-8: the values, and those of the process."""
        lines = self._page.families(self._process.collect())
        with self._lock:
            self._note_phases()
            for name, row in self._rows.items():
                if row.kind == catalogue.HISTOGRAM:
                    lines += self._page.histogram(row, self._histograms[name])
                else:
                    lines += self._page.row(row, self._values[name])
        return "".join(lines).encode()

    def _note_phases(self) -> None:
        if self._budget is not None:
            for phase, seconds in self._budget.totals().items():
                self._set(f"dm2_{self._role}_phase_seconds_total", seconds, phase)

    def queue(self, name: str, limit: int, used: int | None = None) -> None:
        """A queue of this process.

        Args:
            name: one of `catalogue.ACTOR_QUEUES`, `LEARNER_QUEUES` or `HEAD_QUEUES`.
            limit: bytes that it can hold at most.
            used: bytes in it now; None where nobody can know, as inside ZeroMQ.
        """
        with self._lock:
            self._set(f"dm2_{self._role}_queue_limit_bytes", limit, name)
            if used is not None:
                self._set(f"dm2_{self._role}_queue_bytes", used, name)

    def message_refused(self, reason: str) -> None:
        """A message was refused before it reached any book; not for actors."""
        self._add("dm2_messages_refused_total", 1, reason)

    def peer_refused(self, role: str) -> None:
        """A peer was told that it may not take part; role: what it claimed to be."""
        self._add("dm2_peers_refused_total", 1, role)

    def peer_banned(self, role: str) -> None:
        """A peer sent too many messages that were refused; role: one of `catalogue.PEER_ROLES`."""
        self._add("dm2_peers_banned_total", 1, role)

    def keys_refused(self, total: int) -> None:
        """Connections refused for their key since the process started."""
        self._raise("dm2_keys_refused_total", total)

    def _add(self, name: str, amount: float, value: str = "") -> None:
        assert amount >= 0, f"{name} counts upwards"
        with self._lock:
            key = self._key(name, value)
            self._values[name][key] = self._values[name].get(key, 0) + amount

    def _set(self, name: str, amount: float, value: str = "") -> None:
        with self._lock:
            self._values[name][self._key(name, value)] = amount

    def _raise(self, name: str, total: float, value: str = "") -> None:
        """Set a counter whose total is counted elsewhere; a smaller one would look like a reset."""
        with self._lock:
            key = self._key(name, value)
            self._values[name][key] = max(total, self._values[name].get(key, 0))

    def _replace(self, name: str, amounts: Mapping[str, float]) -> None:
        """Set every value of a label; the ones not given become 0."""
        with self._lock:
            for value in {*self._values[name], *amounts}:
                self._set(name, amounts.get(value, 0), value)

    def _key(self, name: str, value: str) -> str:
        known = self._values[name]
        return value if value in known or len(known) < catalogue.MAX_VALUES - 1 else "other"

    def _family(self, row: Metric) -> core.Metric:
        names = [*self._constant, row.label] if row.label else [*self._constant]
        constant = [*self._constant.values()]
        if row.kind == catalogue.HISTOGRAM:
            histogram = core.HistogramMetricFamily(row.name, row.help, labels=names)
            known = self._histograms[row.name]
            histogram.add_metric(constant, known.buckets(), known.total)
            return histogram
        family: core.CounterMetricFamily | core.GaugeMetricFamily
        if row.kind == catalogue.COUNTER:
            family = core.CounterMetricFamily(row.name, row.help, labels=names)
        else:
            family = core.GaugeMetricFamily(row.name, row.help, labels=names)
        for value, amount in self._values[row.name].items():
            family.add_metric([*constant, value] if row.label else constant, amount)
        return family


def _initial(row: Metric) -> dict[str, float]:
    """Counters start at 0 wherever they can; gauges appear once they are known."""
    if row.kind == catalogue.COUNTER and not row.label:
        return {"": 0}
    return dict.fromkeys(row.values, 0)
