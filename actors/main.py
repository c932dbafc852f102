"""The actor process: lease a ticket, fetch its policies, play it, deliver it, again. Torch-free."""

import logging
import time
from pathlib import Path

from actors.actor import play_to_the_end
from actors.battles import Battles
from actors.session import ActorSession, Leaving
from dm2_dist import child
from dm2_dist import ticket as tickets
from dm2_dist.comms import messages
from dm2_dist.comms.ledger import ENV_RESTART
from dm2_dist.comms.sockets import close_context
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import GameLost, NoGameError
from dm2_dist.inference import StackedPolicy
from dm2_dist.run_directory import RunDirectory
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice
from monitoring.exporter import Exporter
from monitoring.metrics import ActorMetrics

_LOG = logging.getLogger(__name__)
_LEAVE_SECONDS = 60.0


def run(name: str, head: str, root: Path, incarnation: int) -> None:
    """Play until the head drains the run.

    Args:
        name: for instance `actor-3`.
        head: the head's address.
        root: the run directory.
        incarnation: fencing token of this start.
    """
    directory = RunDirectory(root)
    logger = child.begin(name, directory.logs)
    try:
        config = directory.read_config()
        spec = make.describe(config.env, config.map)
        metrics = ActorMetrics(root.name, name)
        exporter = Exporter(metrics.registry)
        session = ActorSession(
            head,
            messages.Source(name=name, incarnation=incarnation),
            directory.ledger,
            spec.num_agents,
            capacity_of(config),
            exporter.address,
        )
        battles = Battles(config, root, name, session.keep_alive)
        try:
            while True:
                _play_one(session, battles, metrics)
        except Leaving:
            battles.close()
            session.leave(_LEAVE_SECONDS)
        close_context()
        exporter.close()
    except NoGameError as error:
        logger.error("%s", error)
        raise SystemExit(child.HOPELESS) from None
    except BaseException:
        logger.exception("actor failed")
        raise SystemExit(1) from None


def capacity_of(config: RunConfig) -> int:
    """Trajectories per agent that may be unsettled: all tickets of all open iterations, and one."""
    return (tickets.lag_of(config.schedule) + 2) * tickets.tickets_per_iteration(config) + 1


def _play_one(session: ActorSession, battles: Battles, metrics: ActorMetrics) -> None:
    """One turn of the loop, with the time each part took."""
    clock = [time.monotonic()]
    battles.open()
    clock.append(time.monotonic())
    ticket = session.next_ticket()
    clock.append(time.monotonic())
    policies = session.parameters(ticket.versions)
    if policies is None:
        session.give_back(ticket)
        return
    policy = StackedPolicy(policies)
    clock.append(time.monotonic())
    slices = _play(ticket, policy, session, battles, metrics)
    clock.append(time.monotonic())
    session.env_steps += slices[0].env_steps
    session.episodes += slices[0].num_episodes
    if ticket.kind == tickets.TRAIN:
        session.deliver(ticket, slices)
    else:
        session.report(ticket, slices[0])
    clock.append(time.monotonic())
    metrics.played(slices[0].env_steps, slices[0].num_episodes)
    names = ("wait_game", "wait_ticket", "wait_parameters", "play", "send")
    for phase, start, end in zip(names, clock[:-1], clock[1:], strict=True):
        session.phases[phase] = session.phases.get(phase, 0.0) + end - start
        metrics.phase(phase, end - start)
    account = session.totals()
    metrics.ledger(account.produced, account.produced - account.unsettled, account.unsettled)


def _play(
    ticket: Ticket,
    policy: StackedPolicy,
    session: ActorSession,
    battles: Battles,
    metrics: ActorMetrics,
) -> list[Slice]:
    """Play a ticket; a playing that a lost game cut off is booked and thrown away."""

    def on_lost(lost: GameLost) -> None:
        _LOG.warning("cut_off ticket=%s reason=%s", ticket.ticket_id, lost)
        session.cut_off(ticket)
        metrics.dropped(ENV_RESTART, len(ticket.seeds))

    slices = play_to_the_end(ticket, policy, battles.of(ticket), session.keep_alive, on_lost)
    if battles.game is not None:
        metrics.game(battles.game.launches, battles.game.memory_bytes)
    return slices
