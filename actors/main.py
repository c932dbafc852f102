"""The actor process: lease a ticket, fetch its policies, play it, deliver it, again. Torch-free."""

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

from actors.battles import Battles
from actors.player import Player
from actors.session import ActorSession, Leaving
from dm2_dist import child, run_directory
from dm2_dist import config as configuration
from dm2_dist import ticket as tickets
from dm2_dist.comms import messages, queue_limit
from dm2_dist.comms.control import HeadLink
from dm2_dist.comms.ledger import ENV_RESTART
from dm2_dist.comms.sockets import Poller, close_context
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import GameLost, NoGameError
from dm2_dist.run_directory import RunDirectory
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice
from monitoring.exporter import Exporter
from monitoring.metrics import ActorMetrics

_LOG = logging.getLogger(__name__)
_LEAVE_SECONDS = 60.0
_WELCOME_SECONDS = 300.0


class HeadSilentError(Exception):
    """No head answers at the address; the message names it and the mend."""


def run(name: str, head: str, root: Path, incarnation: int) -> None:
    """Play as a child of the launcher, until the head drains the run.

    Args:
        name: for instance `actor-3`.
        head: the head's address.
        root: the run directory.
        incarnation: fencing token of this start.
    """
    directory = RunDirectory(root)
    logger = child.begin(name, directory.logs, incarnation)
    try:
        source = messages.Source(name=name, incarnation=incarnation)
        _take_part(directory.read_config(), root.name, head, source, directory)
    except NoGameError as error:
        logger.error("%s", error)
        raise SystemExit(child.HOPELESS) from None
    except BaseException:
        logger.exception("actor failed")
        raise SystemExit(1) from None


def join(head: str, source: messages.Source, folder: Path, scenario: Path | None) -> None:
    """Play for a run of which nothing but the head's address is known, until the head drains it.

    The configuration comes with the head's welcome.

    Args:
        head: its address.
        source: name and incarnation of this actor.
        folder: of this actor alone; its counter file, and a real game's files.
        scenario: a copy of the scenario, where the run plays one.

    Raises:
        HeadSilentError: nobody answers.
        Rejected: the head refuses this actor.
        ConfigError, RunDirectoryError: the run plays a scenario, and it is not here.
        NoGameError: the game cannot be had.
        AddressError: an address cannot be used.
    """
    welcome = introduce(head, source, _WELCOME_SECONDS)
    config = _with_scenario(configuration.from_json(welcome.config_json), scenario)
    _LOG.info("joined run_id=%s head=%s", welcome.run_id, head)
    local = RunDirectory(folder)
    local.ledger.mkdir(parents=True, exist_ok=True)
    _take_part(config, welcome.run_id, head, source, local, _leave_on_signals)


def _leave_on_signals(session: ActorSession) -> None:
    """The first Ctrl-C or SIGTERM: deliver what is in hand and go; the second ends the process."""

    def leave(number: int, _frame: FrameType | None) -> None:
        session.ask_to_leave()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)


def introduce(head: str, source: messages.Source, patience: float) -> messages.Welcome:
    """Say HELLO until the head answers.

    Args:
        head: its address.
        source: name and incarnation of this actor.
        patience: seconds.

    Raises:
        HeadSilentError: nobody answered in that time.
        Rejected: the head refuses this actor.
    """

    def hello(source: messages.Source) -> messages.Hello:
        return messages.Hello(
            protocol=messages.PROTOCOL, source=source, role="actor", pid=os.getpid()
        )

    link, poller = HeadLink(head, source, hello), Poller()
    poller.add(link.dealer)
    deadline = time.monotonic() + patience
    try:
        while link.welcome is None and time.monotonic() < deadline:
            poller.wait(0.2)
            for message in link.poll(time.monotonic()):
                _LOG.info("heard kind=%s", message.kind)
    finally:
        link.dealer.close()
    if link.welcome is None:
        raise HeadSilentError(
            f"no head answered at {head} for {patience:.0f} s; "
            "check that it runs, the address, and the keys if it uses any"
        )
    return link.welcome


def _with_scenario(config: RunConfig, scenario: Path | None) -> RunConfig:
    """The configuration with this host's copy of the scenario, which must be the same file."""
    if not config.plays_scenario:
        return config
    if scenario is None:
        raise ConfigError(
            f"the run plays the scenario {Path(config.map).name}; copy it from the run directory "
            "to this host and name it with --scenario FILE"
        )
    return run_directory.pin_scenario(replace(config, map=str(scenario)))


def _take_part(
    config: RunConfig,
    run_id: str,
    head: str,
    source: messages.Source,
    directory: RunDirectory,
    on_session: Callable[[ActorSession], None] = lambda _session: None,
) -> None:
    """Play and deliver until the head drains the run, then account for what is unsettled."""
    spec = make.describe(config.env, config.map)
    metrics = ActorMetrics(run_id, source.name)
    exporter = Exporter(metrics.registry)
    session = ActorSession(
        head,
        source,
        directory.ledger,
        spec.num_agents,
        capacity_of(config),
        exporter.address,
    )
    on_session(session)
    for queue, limit in queue_limit.of_actor(spec.num_agents).items():
        metrics.queue(queue, limit)
    battles = Battles(config, directory.root, source.name, session.keep_alive)
    player = Player(config)
    try:
        while True:
            _play_one(session, player, battles, metrics)
    except Leaving:
        metrics.budget.enter("settle")
        battles.close()
        session.leave(_LEAVE_SECONDS)
    close_context()
    exporter.close()


def capacity_of(config: RunConfig) -> int:
    """Trajectories per agent that may be unsettled: all tickets of all open iterations, and one."""
    return (config.max_lag + 2) * tickets.tickets_per_iteration(config) + 1


def _play_one(
    session: ActorSession, player: Player, battles: Battles, metrics: ActorMetrics
) -> None:
    """One turn of the loop, with the time each part took."""
    budget = metrics.budget
    budget.enter("wait_game")
    battles.open()
    budget.enter("wait_ticket")
    ticket = session.next_ticket()
    budget.enter("wait_parameters")
    found = session.parameters(ticket)
    if found is None:
        session.give_back(ticket)
        return
    ticket, parameters = found
    player.take(parameters)
    if ticket.kind == tickets.TRAIN:
        metrics.policies(ticket.versions)
    budget.enter("play")
    slices = _play(ticket, player, session, battles, metrics)
    budget.enter("send")
    session.env_steps += slices[0].env_steps
    episodes = int(slices[0].ended.sum())
    session.episodes += episodes
    if ticket.kind == tickets.TRAIN:
        session.deliver(ticket, slices)
    else:
        session.report(ticket, slices[0])
    budget.enter("other")
    metrics.played(slices[0].env_steps, episodes)
    session.phases = budget.named()
    account = session.totals()
    metrics.ledger(account.produced, account.produced - account.unsettled, account.unsettled)
    for name, (used, limit) in session.held().items():
        metrics.queue(name, limit, used)


def _play(
    ticket: Ticket,
    player: Player,
    session: ActorSession,
    battles: Battles,
    metrics: ActorMetrics,
) -> list[Slice]:
    """Play a ticket; a playing that a lost game cut off is booked and thrown away."""

    def on_lost(lost: GameLost) -> None:
        _LOG.warning("cut_off ticket=%s reason=%s", ticket.ticket_id, lost)
        session.cut_off(ticket)
        metrics.dropped(ENV_RESTART, len(ticket.seeds))

    slices = player.play(ticket, battles.of(ticket), session.keep_alive, on_lost)
    if battles.game is not None:
        metrics.game(battles.game.launches, battles.game.memory_bytes)
    return slices
