"""The numbers a process shows Prometheus: one class per role, one method per thing that happens.

The roles call methods and know neither metric names nor labels: `monitoring.catalogue` has those.
Fed by actors, learners and head; read by `monitoring.exporter` through `.registry`.
`python -m monitoring.metrics` prints docs/metrics.md.
"""

import bisect
import contextlib
import itertools
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping

import prometheus_client
from prometheus_client import core
from prometheus_client.registry import Collector

import dm2_dist
from monitoring import catalogue
from monitoring.catalogue import Metric


class _Metrics(Collector):
    """The values of one process behind one lock.

    NOTE: values are kept here, not in prometheus_client's own counters, because those lock one by
    one and a scrape between two of them would see a ledger that does not add up.
    """

    def __init__(self, role: str, constant: dict[str, str]) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self._role = role
        self._constant = constant
        self._lock = threading.RLock()
        self._rows = {row.name: row for row in catalogue.TABLE if role in row.roles}
        self._values = {name: _initial(row) for name, row in self._rows.items()}
        self._lags = [0] * (len(catalogue.LAG_BUCKETS) + 1)
        self._lag_sum = 0
        self._set("dm2_build_info", 1, dm2_dist.__version__)
        self.registry.register(self)
        prometheus_client.ProcessCollector(registry=self.registry)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Updates made inside reach a scrape all at once."""
        with self._lock:
            yield

    def collect(self) -> Iterable[core.Metric]:
        """Called by every scrape."""
        with self._lock:
            return [self._family(row) for row in self._rows.values()]

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
            histogram.add_metric(constant, self._buckets(), self._lag_sum)
            return histogram
        family: core.CounterMetricFamily | core.GaugeMetricFamily
        if row.kind == catalogue.COUNTER:
            family = core.CounterMetricFamily(row.name, row.help, labels=names)
        else:
            family = core.GaugeMetricFamily(row.name, row.help, labels=names)
        for value, amount in self._values[row.name].items():
            family.add_metric([*constant, value] if row.label else constant, amount)
        return family

    def _buckets(self) -> list[tuple[str, float]]:
        bounds = [*map(str, catalogue.LAG_BUCKETS), "+Inf"]
        return list(zip(bounds, itertools.accumulate(self._lags), strict=True))


def _initial(row: Metric) -> dict[str, float]:
    """Counters start at 0 wherever they can; gauges appear once they are known."""
    if row.kind == catalogue.COUNTER and not row.label:
        return {"": 0}
    return dict.fromkeys(row.values, 0)


class ActorMetrics(_Metrics):
    """What one actor exports."""

    def __init__(self, run_id: str, actor: str) -> None:
        super().__init__(catalogue.ACTOR, {"run_id": run_id, "actor": actor})

    def played(self, env_steps: int, episodes: int) -> None:
        """A ticket was played."""
        with self._lock:
            self._add("dm2_actor_env_steps_total", env_steps)
            self._add("dm2_actor_episodes_total", episodes)

    def dropped(self, reason: str, episodes: int) -> None:
        """Episodes were cut off, for a reason of `catalogue.EPISODE_DROP_REASONS`."""
        self._add("dm2_actor_episodes_dropped_total", episodes, reason)

    def game(self, launches: int, memory_bytes: int) -> None:
        """The actor's game: how many it has started so far, and what the newest occupies."""
        with self._lock:
            self._raise("dm2_actor_game_launches_total", launches)
            self._set("dm2_actor_game_memory_bytes", memory_bytes)

    def phase(self, name: str, seconds: float) -> None:
        """`seconds` more were spent in a phase of `catalogue.ACTOR_PHASES`."""
        self._add("dm2_actor_phase_seconds_total", seconds, name)

    def phases(self, totals: Mapping[str, float]) -> None:
        """The same as `phase`, from totals since the process started."""
        with self._lock:
            for name, seconds in totals.items():
                self._raise("dm2_actor_phase_seconds_total", seconds, name)

    def ledger(self, produced: int, settled: int, unsettled: int) -> None:
        """The books of this process, as totals since it started."""
        with self._lock:
            self._raise("dm2_actor_trajectories_produced_total", produced)
            self._raise("dm2_actor_trajectories_settled_total", settled)
            self._set("dm2_actor_trajectories_unsettled", unsettled)


class LearnerMetrics(_Metrics):
    """What the learner of one agent exports."""

    def __init__(self, run_id: str, agent: int) -> None:
        super().__init__(catalogue.LEARNER, {"run_id": run_id, "agent": str(agent)})

    def received(self, count: int = 1) -> None:
        """Trajectories came off the wire."""
        self._add("dm2_learner_trajectories_received_total", count)

    def trained(self, count: int) -> None:
        """A commit contains the effect of these trajectories."""
        self._add("dm2_learner_trajectories_trained_total", count)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Trajectories were dropped for a reason of `catalogue.DROP_REASONS`."""
        self._add("dm2_learner_trajectories_dropped_total", count, reason)

    def buffered(self, count: int) -> None:
        """So many trajectories wait for their iteration now."""
        self._set("dm2_learner_trajectories_buffered", count)

    def phase(self, name: str, seconds: float) -> None:
        """`seconds` more were spent in a phase of `catalogue.LEARNER_PHASES`."""
        self._add("dm2_learner_phase_seconds_total", seconds, name)

    def phases(self, totals: Mapping[str, float]) -> None:
        """The same as `phase`, from totals since the process started."""
        with self._lock:
            for name, seconds in totals.items():
                self._raise("dm2_learner_phase_seconds_total", seconds, name)

    def nonfinite(self, what: str) -> None:
        """A gradient step of a network of `catalogue.NETWORKS` was skipped."""
        self._add("dm2_learner_nonfinite_total", 1, what)

    def resumed(self, version: int) -> None:
        """The process starts from a checkpoint of this version."""
        self._set("dm2_learner_policy_version", version)

    def iteration(self, version: int, lag: int, metrics: Mapping[str, float]) -> None:
        """An iteration was committed as `version`, on episodes played `lag` versions earlier."""
        with self._lock:
            self._add("dm2_learner_iterations_total", 1)
            self._set("dm2_learner_policy_version", version)
            self._lags[bisect.bisect_left(catalogue.LAG_BUCKETS, lag)] += 1
            self._lag_sum += lag
            for name, number in metrics.items():
                row = self._rows.get(f"dm2_learner_{name}")
                if row is not None and row.kind == catalogue.GAUGE and not row.label:
                    self._set(row.name, number)
                else:
                    self._set("dm2_learner_statistic", number, name)


class HeadMetrics(_Metrics):
    """What the head exports about the run as a whole."""

    def __init__(self, run_id: str, map_name: str) -> None:
        super().__init__(catalogue.HEAD, {"run_id": run_id, "map": map_name})

    def actors(self, counts: Mapping[str, int]) -> None:
        """Live actors by state; states not given have none."""
        self._replace("dm2_head_actors", counts)

    def tickets(self, counts: Mapping[str, int]) -> None:
        """Tickets not yet done by state; states not given have none."""
        self._replace("dm2_head_tickets", counts)

    def ledger_error(self, error: int) -> None:
        """What is missing from the books of the run."""
        self._set("dm2_head_ledger_error", error)

    def lost(self, cause: str, count: int) -> None:
        """Trajectories went down with the process that held them."""
        self._add("dm2_head_lost_total", count, cause)

    def restart(self, role: str) -> None:
        """A child of this role was started again."""
        self._add("dm2_process_restarts_total", 1, role)

    def env_steps(self, total: int) -> None:
        """Training env steps committed so far."""
        self._raise("dm2_head_env_steps_total", total)

    def env_steps_target(self, target: int) -> None:
        """Training env steps at which the run ends."""
        self._set("dm2_head_env_steps_target", target)

    def iterations(self, total: int) -> None:
        """Iterations committed by every learner so far."""
        self._raise("dm2_head_iterations_total", total)

    def evaluation(self, wins: int, episodes: int, return_mean: float) -> None:
        """An evaluation of at least one episode is complete."""
        assert 0 <= wins <= episodes, "wins are some of the episodes"
        with self._lock:
            self._add("dm2_eval_episodes_total", wins, "win")
            self._add("dm2_eval_episodes_total", episodes - wins, "loss")
            self._set("dm2_eval_return_mean", return_mean)
            self._set("dm2_win_rate", wins / episodes)

    def win_rate(self, rate: float) -> None:
        """The win rate known from the run's record, for instance after a resume."""
        self._set("dm2_win_rate", rate)

    def run_state(self, state: str) -> None:
        """The run is now in this state of `catalogue.RUN_STATES`."""
        assert state in catalogue.RUN_STATES, f"{state!r} is no state of a run"
        self._replace("dm2_run_state", {state: 1})


if __name__ == "__main__":
    sys.stdout.write(catalogue.markdown())
