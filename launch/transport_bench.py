"""`dm2 bench transport`: trajectories from two actors to one learner, beside bare pyzmq.

The product's side (`launch.transport_roles`) is an actor's own conversation and books and a
learner's own socket thread: encoding, digest, header, credit, decoding, every check, the books and
SETTLE. The limit beside it (`dm2_dist.comms.bare`) moves frames of the same sizes with the same
window and answers, and looks at nothing. Both take turns on the same cores. Called by
`launch.bench`.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

import psutil

from dm2_dist import ticket as tickets
from dm2_dist.comms import keys, slice_body
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.trajectory import Slice
from launch import host, transport_roles
from launch.bench_row import Row
from launch.transport_roles import DONE, GO, ITERATION_TICKETS, Settings

TRANSPORTS = {"ipc": False, "tcp": False, "tcp, CURVE": True}
"""Ways to travel, and whether keys are used."""
SHARE_LIMIT = 5.0
"""Percent of an actor's time that its messages may take."""
_ACTORS = 2
_ROUNDS = 5
_PLAYINGS = 5
_PATIENCE_SECONDS = 60.0


class BenchError(Exception):
    """A process of the bench ended or is silent; the message says which."""


class Pace(NamedTuple):
    """What one side did in one round.

    rate: messages/s of all actors together.
    actor_seconds: processor seconds per message of the actor that sent it.
    learner_seconds: processor seconds per message of the learner.
    """

    rate: float
    actor_seconds: float
    learner_seconds: float


def rows(config: RunConfig, seconds: float) -> list[Row]:
    """Messages/s of each transport beside bare pyzmq, and the wire's share of an actor's time.

    Args:
        config: whose map and episodes per ticket fix the size of a message.
        seconds: how long each transport is measured, both sides together.

    Raises:
        BenchError: a process of the bench failed.
    """
    found = []
    play_seconds, slices = _play(config)
    costs = []
    for transport in TRANSPORTS:
        ours, bare = compare(config, slices[0], transport, seconds)
        name = f"transport, {transport}, {_body_bytes(slices[0]):,} bytes"
        found.append(Row(name, ours.rate, "messages/s", bare.rate, "bare pyzmq"))
        costs.append(len(slices) * ours.actor_seconds)
    for transport, cost in zip(TRANSPORTS, costs, strict=True):
        share = 100.0 * cost / (play_seconds + cost)
        name = f"wire's share of an actor's time, {transport}"
        found.append(Row(name, share, "%", SHARE_LIMIT, "the most it may be"))
    return found


def compare(config: RunConfig, part: Slice, transport: str, seconds: float) -> tuple[Pace, Pace]:
    """The medians of both sides over one transport: the product's and bare pyzmq's.

    Args:
        config: as for `rows`.
        part: what every message holds.
        transport: one of `TRANSPORTS`.
        seconds: both sides together.

    Raises:
        BenchError: a process of the bench failed.
    """
    per_round = seconds / 2 / _ROUNDS
    with host.sockets_folder() as folder:
        if TRANSPORTS[transport]:
            keys.init(folder / "keys")
        settings = Settings(
            config=_endless(config),
            tcp=transport.startswith("tcp"),
            encrypted=TRANSPORTS[transport],
            folder=folder,
        )
        product = _side(transport_roles.learn, transport_roles.act, settings, part)
        limit = _side(transport_roles.learn_barely, transport_roles.act_barely, settings, part)
        with product as ours, limit as bare:
            paces = [(ours(per_round), bare(per_round)) for _ in range(_ROUNDS)]
    return _median([pace for pace, _ in paces]), _median([pace for _, pace in paces])


def _endless(config: RunConfig) -> RunConfig:
    """The same messages in a run that does not end, with few commits: those are not the wire."""
    size = config.collection.episodes_per_ticket
    collection = replace(config.collection, episodes_per_iteration=ITERATION_TICKETS * size)
    return replace(
        config,
        algorithm="ippo",
        demonstrations="",
        schedule="pipelined",
        max_env_steps=2**40,
        collection=collection,
    )


def _median(paces: list[Pace]) -> Pace:
    return Pace(*(statistics.median(column) for column in zip(*paces, strict=True)))


def _body_bytes(part: Slice) -> int:
    return len(slice_body.encode_slice(part)[1])


def _play(config: RunConfig) -> tuple[float, list[Slice]]:
    """Processor seconds of playing one ticket, and what its K agents saw in it."""
    import torch

    from actors.actor import play
    from dm2_dist.inference import StackedPolicy
    from learners.independent import IndependentLearner

    spec, plain = make.describe(config.env, config.map), _endless(config)
    learners = (
        IndependentLearner(plain, spec, agent, torch.device("cpu"), None)
        for agent in range(spec.num_agents)
    )
    policy = StackedPolicy([learner.snapshot() for learner in learners])
    ticket = tickets.train_tickets(plain, 0, spec.num_agents)[0]
    battles = make.make_batch(config.env, config.map, len(ticket.seeds))
    slices = play(ticket, policy, battles, _tell_nobody)
    started = time.process_time()
    for _ in range(_PLAYINGS):
        play(ticket, policy, battles, _tell_nobody)
    return (time.process_time() - started) / _PLAYINGS, slices


def _tell_nobody() -> None:
    """There is no head that wants to know whether the actor lives."""


# --- processes ---


@contextmanager
def _side(
    learner: Callable[..., None], actor: Callable[..., None], settings: Settings, part: Slice
) -> Iterator[Callable[[float], Pace]]:
    """Start one learner and its actors; yields a function that lets them go for so many seconds."""
    next_ticket = multiprocessing.get_context("spawn").Value("q", 0)
    with ExitStack() as stack:
        first = _start(stack, learner, settings)
        address = _hear(*first).decode()
        actors = [
            _start(stack, actor, settings, part, address, index, next_ticket)
            for index in range(_ACTORS)
        ]
        for each in actors:
            _hear(*each)

        def go(seconds: float) -> Pace:
            processes = [first[1], *(process for _, process in actors)]
            before = [_spent(process) for process in processes]
            for line, _ in actors:
                line.send_bytes(GO.pack(seconds))
            done = [DONE.unpack(_hear(*each)) for each in actors]
            spent = [_spent(each) - at for each, at in zip(processes, before, strict=True)]
            count = max(1, sum(number for number, _ in done))
            rate = sum(number / elapsed for number, elapsed in done)
            return Pace(rate, sum(spent[1:]) / count, spent[0] / count)

        yield go


def _start(
    stack: ExitStack, target: Callable[..., None], *arguments: object
) -> tuple[Connection, SpawnProcess]:
    """Start a process that ends with the stack; returns the line to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    stack.callback(ours.close)
    stack.callback(process.join, _PATIENCE_SECONDS)
    stack.callback(process.kill)
    return ours, process


def _hear(line: Connection, process: SpawnProcess) -> bytes:
    """The next word of a process."""
    try:
        if line.poll(_PATIENCE_SECONDS):
            return line.recv_bytes()
    except EOFError:
        process.join(_PATIENCE_SECONDS)
        raise BenchError(f"a process of the bench ended with code {process.exitcode}") from None
    raise BenchError(f"a process of the bench was silent for {_PATIENCE_SECONDS:.0f} s")


def _spent(process: SpawnProcess) -> float:
    """Processor seconds of a process, all its threads."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)
