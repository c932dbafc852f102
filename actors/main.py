"""The actor process: lease a ticket, fetch its policies, play it, deliver it, again. Torch-free."""

import time
from pathlib import Path

from actors.actor import play
from actors.session import ActorSession, Leaving
from dm2_dist import child
from dm2_dist import ticket as tickets
from dm2_dist.comms import messages
from dm2_dist.comms.sockets import close_context
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import BattleBatch
from dm2_dist.inference import StackedPolicy
from dm2_dist.run_directory import RunDirectory
from dm2_dist.ticket import Ticket
from monitoring.exporter import Exporter
from monitoring.metrics import ActorMetrics

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
        try:
            while True:
                _play_one(session, config, metrics)
        except Leaving:
            session.leave(_LEAVE_SECONDS)
        close_context()
        exporter.close()
    except BaseException:
        logger.exception("actor failed")
        raise SystemExit(1) from None


def capacity_of(config: RunConfig) -> int:
    """Trajectories per agent that may be unsettled: all tickets of all open iterations, and one."""
    return (tickets.lag_of(config.schedule) + 2) * tickets.tickets_per_iteration(config) + 1


def _play_one(session: ActorSession, config: RunConfig, metrics: ActorMetrics) -> None:
    """One turn of the loop, with the time each part took."""
    clock = [time.monotonic()]
    ticket = session.next_ticket()
    clock.append(time.monotonic())
    policies = session.parameters(ticket.versions)
    if policies is None:
        session.give_back(ticket)
        return
    policy = StackedPolicy(policies)
    clock.append(time.monotonic())
    slices = play(ticket, policy, _battles(config, ticket), session.keep_alive)
    clock.append(time.monotonic())
    session.env_steps += slices[0].env_steps
    session.episodes += slices[0].num_episodes
    if ticket.kind == tickets.TRAIN:
        session.deliver(ticket, slices)
    else:
        session.report(ticket, slices[0])
    clock.append(time.monotonic())
    metrics.played(slices[0].env_steps, slices[0].num_episodes)
    names = ("wait_ticket", "wait_parameters", "play", "send")
    for phase, start, end in zip(names, clock[:-1], clock[1:], strict=True):
        session.phases[phase] = session.phases.get(phase, 0.0) + end - start
        metrics.phase(phase, end - start)
    account = session.totals()
    metrics.ledger(account.produced, account.produced - account.unsettled, account.unsettled)


_BATTLES: dict[tuple[str, str, int], BattleBatch] = {}


def _battles(config: RunConfig, ticket: Ticket) -> BattleBatch:
    """Battles for a ticket; made once per size, and started anew by every ticket."""
    key = (config.env, config.map, len(ticket.seeds))
    if key not in _BATTLES:
        _BATTLES[key] = make.make_batch(*key)
    return _BATTLES[key]
