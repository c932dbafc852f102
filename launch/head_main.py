"""The head process: the head, its metrics and its log, until the run is over."""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dm2_dist import child, demonstrations
from dm2_dist.comms import endpoint, queue_limit
from dm2_dist.comms.sockets import close_context
from dm2_dist.config import RunConfig
from dm2_dist.demonstrations import DemonstrationsError
from dm2_dist.envs import make
from dm2_dist.run_directory import RunDirectory, RunDirectoryError
from launch import past_run, record
from launch.head import Head
from launch.reception import Reception
from launch.work import Work
from monitoring.exporter import Exporter, Target, service_discovery
from monitoring.metrics import HeadMetrics

_LOG = logging.getLogger(__name__)
_STEP_SECONDS = 0.2
_SHOW_SECONDS = 1.0


def run(name: str, address: str, root: Path, metrics_port: int, incarnation: int) -> None:
    """Coordinate the run in `root` until it is over; writes `summary.json`.

    Args:
        name: `head-0`.
        address: where actors, learners and the launcher find the head.
        root: the run directory.
        metrics_port: port of `/metrics`, `/sd` and `/status`; 0 takes a free one.
        incarnation: of this start.
    """
    directory = RunDirectory(root)
    logger = child.begin(name, directory.logs, incarnation)
    try:
        coordinate(directory, address, metrics_port, incarnation, lambda _head: None)
    except BaseException:
        logger.exception("head failed")
        raise SystemExit(1) from None


def coordinate(
    directory: RunDirectory,
    address: str,
    metrics_port: int,
    incarnation: int,
    on_turn: Callable[[Head], None],
) -> None:
    """Coordinate the run in `directory` until it is over; writes `summary.json`.

    Args:
        directory: of the run; the caller holds its lock.
        address: where the head listens.
        metrics_port: port of `/metrics`, `/sd` and `/status`; 0 takes a free one.
        incarnation: of this start.
        on_turn: called with the head once a second, in between its messages.

    Raises:
        AddressError: the address cannot be used.
        RunDirectoryError: the run cannot be read.
    """
    config = directory.read_config()
    spec = make.describe(config.env, config.map)
    head = Head(config, spec, directory, address, incarnation)
    display = Display(HeadMetrics(directory.root.name, spec.map_name))
    display.show_config(config)
    display.take_up(head.record.evaluations, past(directory))
    totals = RunTotals(head)
    totals.show(display.metrics)
    display.show(head.report())  # who asks first must not be told zeros
    exporter = Exporter(
        display.metrics.registry,
        port=metrics_port,
        routes={
            "/sd": lambda: service_discovery(targets(head)),
            "/status": lambda: display.newest,
        },
    )
    head.metrics_address = exporter.address
    _LOG.info("listening address=%s", head.router.address)
    _LOG.info("metrics address=%s", exporter.address)
    shown_at = 0.0
    while not head.done:
        head.step(_STEP_SECONDS)
        if time.monotonic() - shown_at >= _SHOW_SECONDS:
            shown_at = time.monotonic()
            totals.show(display.metrics)
            display.show(head.report())
            display.show_refusals(head.reception)
            on_turn(head)
            for queue, limit in queue_limit.of_head(len(head.peers)).items():
                display.metrics.queue(queue, limit)
            display.metrics.keys_refused(sum(endpoint.refused_keys().values()))
    head.close()
    close_context()
    exporter.close()


def past(directory: RunDirectory) -> dict[str, Any]:
    """What the run had come to before, see `launch.past_run`; empty if its files do not tell."""
    try:
        return past_run.report(directory)
    except RunDirectoryError as error:
        _LOG.warning("totals begin at 0 reason=%s", error)
        return {}


def targets(head: Head) -> list[Target]:
    """Every process of the run that Prometheus can scrape, the head included."""
    run_id = head.directory.root.name
    found = [Target(head.metrics_address, "head", "head-0", run_id)]
    for name, peer in list(head.peers.items()):
        found.append(Target(peer.hello.metrics_address, peer.hello.role, name, run_id))
    return found


class RunTotals:
    """Totals of the run that no process but the head can know, or that outlive their process."""

    def __init__(self, head: Head) -> None:
        """Count for this head."""
        self._head, self._work = head, Work(head.directory.ledger / "work.json")

    def show(self, metrics: HeadMetrics) -> None:
        """Count anew and pass it on."""
        head = self._head
        self._work.note(head.peers, head.dispatcher.account())
        self._work.save()
        metrics.played(self._work.env_steps, self._work.episodes)
        metrics.leases(self._work.leases)
        restarts = head.record.restarts.get("learner", 0)
        counters = list(record.actor_counters(head.directory))
        head.losses.look(counters, head.dispatcher.version, restarts)
        metrics.losses(head.losses.known, head.losses.in_doubt)
        try:
            usage = shutil.disk_usage(head.directory.root)
        except OSError as error:
            _LOG.debug("disk not asked reason=%s", error)
        else:
            metrics.disk(usage.free, usage.total)


class Display:
    """Passes the head's reports on to Prometheus: totals as they are, counters by their growth.

    newest: the newest report, for whoever asks in another thread.
    """

    def __init__(self, metrics: HeadMetrics) -> None:
        self.metrics = metrics
        self.newest: dict[str, Any] = {}
        self._evaluations = 0
        self._restarts: dict[str, int] = {}
        self._told: dict[str, Counter[str]] = {}

    def show_config(self, config: RunConfig) -> None:
        """What is known before the run begins."""
        self.metrics.max_lag(config.max_lag)
        if config.uses_demonstrations:
            try:
                card = demonstrations.read_card(Path(config.demonstrations))
            except (DemonstrationsError, OSError) as error:
                _LOG.warning("demonstrators unknown reason=%s", error)
            else:
                self.metrics.demonstrators(card.win_rate)

    def take_up(self, evaluations: Sequence[Mapping[str, Any]], past: Mapping[str, Any]) -> None:
        """What the run had come to before this head, so that no total begins at 0 again.

        Args:
            evaluations: lines of `evaluations.jsonl`.
            past: a report of `launch.past_run`, or nothing.
        """
        if past:
            self.metrics.env_steps(past["env_steps"])
            self.metrics.iterations(past["iterations"])
            ledger = past["ledger"]
            self.metrics.books(ledger["produced"], ledger["trained"], ledger["dropped"])
            self.metrics.losses(ledger["lost"], 0)
        self._show_evaluations(evaluations)

    def _show_evaluations(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Count those that are new."""
        for line in lines[self._evaluations :]:
            wins = round(line["win_rate"] * line["episodes"])
            self.metrics.evaluation(wins, line["episodes"], line["return_mean"])
        self._evaluations = len(lines)

    def show_refusals(self, reception: Reception) -> None:
        """Count what was refused at the head's door, who was turned away, and who was banned."""
        for name, counts, tell in (
            ("refused", reception.bans.refusals, self.metrics.message_refused),
            ("turned away", reception.turned_away, self.metrics.peer_refused),
            ("banned", reception.banned, self.metrics.peer_banned),
        ):
            for value in (counts - self._told.get(name, Counter())).elements():
                tell(value)
            self._told[name] = Counter(counts)

    def show(self, report: dict[str, Any]) -> None:
        """Bring every metric of the head up to date."""
        self.newest = report
        metrics = self.metrics
        actors = report["actors"]
        metrics.actors({"playing": actors["playing"], "waiting": actors["waiting"]})
        metrics.tickets(report["tickets"])
        ledger = report["ledger"]
        metrics.ledger_error(ledger["error"])
        metrics.books(ledger["produced"], ledger["trained"], ledger["dropped"])
        metrics.env_steps(report["env_steps"])
        metrics.env_steps_target(report["max_env_steps"])
        metrics.iterations(report["iterations"])
        metrics.run_state(report["state"])
        if report["seconds_left"] is not None:
            metrics.left(report["seconds_left"])
        for role, count in report["restarts"].items():
            for _ in range(count - self._restarts.get(role, 0)):
                metrics.restart(role)
        self._restarts = dict(report["restarts"])
        self._show_evaluations(report["evaluations"])
