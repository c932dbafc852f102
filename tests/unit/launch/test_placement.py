"""What is chosen from the machine and warned of, and that no repeatable result can change."""

import dataclasses
import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dm2_dist import presets
from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.sections import CollectionConfig
from launch import placement
from launch.machine import Machine
from launch.placement import Wishes

PAPER = presets.paper_5v6()
LEFT_OPEN = Wishes(ticket_size_given=False)


def machine(cores: int = 2, gigabytes: float = 64.0, **facts) -> Machine:
    made = Machine(tuple(range(cores)), math.inf, int(gigabytes * 2**30), 0, 0.0, "a processor")
    return replace(made, **facts)


def collected(config: RunConfig, episodes: int, size: int) -> RunConfig:
    sizes = CollectionConfig(episodes_per_iteration=episodes, episodes_per_ticket=size)
    return replace(config, collection=sizes)


MACHINES = st.builds(
    machine,
    cores=st.integers(1, 256),
    gigabytes=st.floats(0.5, 2000),
    quota=st.sampled_from([0.5, 1.5, 4.0, math.inf]),
    gpus=st.integers(0, 8),
    load=st.floats(0, 100),
)
CONFIGS = st.builds(
    lambda schedule, episodes, size, threads: replace(
        collected(PAPER, episodes, size), schedule=schedule, learner_threads=threads
    ),
    st.sampled_from(["sync", "pipelined", "async"]),
    st.integers(64, 2000),
    st.integers(1, 64),
    st.integers(1, 4),
)
WISHES = st.builds(Wishes, st.none() | st.integers(1, 64), st.booleans())


@given(MACHINES, CONFIGS, st.integers(1, 10), WISHES)
def test_nothing_that_a_repeatable_result_depends_on_is_chosen(at, config, agents, wishes) -> None:
    chosen = placement.choose(at, config, agents, wishes)
    if config.schedule != "async" or wishes.ticket_size_given:
        assert chosen.config == config
    else:
        collection = dataclasses.asdict(chosen.config.collection)
        collection["episodes_per_ticket"] = config.collection.episodes_per_ticket
        assert replace(chosen.config, collection=CollectionConfig(**collection)) == config
    assert chosen.actors >= 1
    if wishes.actors is not None:
        assert chosen.actors == wishes.actors
    assert 0 <= len(chosen.reasons) <= 2


@given(MACHINES, CONFIGS, st.integers(1, 10))
def test_what_is_chosen_is_never_warned_of_unless_it_is_the_least(at, config, agents) -> None:
    chosen = placement.choose(at, config, agents, LEFT_OPEN)
    assert not [said for said in chosen.warnings if "--actors" in said]
    assert chosen.actors <= at.cores


def test_every_usable_core_gets_an_actor() -> None:
    chosen = placement.choose(machine(cores=12), PAPER, 5)
    assert chosen.actors == 12
    assert "one for each usable core" in chosen.reasons[0]
    assert placement.choose(machine(cores=12, quota=3.0), PAPER, 5).actors == 3


def test_no_more_actors_than_tickets_or_than_fit_into_memory() -> None:
    small = collected(PAPER, 64, 16)
    chosen = placement.choose(machine(cores=12), small, 5)
    assert chosen.actors == tickets.tickets_per_iteration(small) == 4
    assert "4 tickets" in chosen.reasons[0]
    games = presets.in_environment(PAPER, "smac")
    chosen = placement.choose(machine(cores=64, gigabytes=16), games, 5)
    assert 1 <= chosen.actors < 16
    assert "16.0 GiB" in chosen.reasons[0]


def test_who_asks_for_more_actors_than_cores_is_told_what_to_pass() -> None:
    chosen = placement.choose(machine(cores=8), PAPER, 5, Wishes(actors=32))
    assert chosen.actors == 32
    assert chosen.reasons == ()
    (said,) = chosen.warnings
    assert "32 actors share 8 cores" in said
    assert "--actors 8" in said


def test_learners_that_share_cores_are_told_of_with_the_price() -> None:
    chosen = placement.choose(machine(cores=2), PAPER, 5)
    (said,) = chosen.warnings
    assert "5 learners" in said
    assert "2.5 times" in said
    threads = replace(PAPER, learner_threads=2)
    assert "10 cores" in placement.choose(machine(cores=5), threads, 5).warnings[0]
    assert placement.choose(machine(cores=5), PAPER, 5).warnings == ()


def test_learners_that_share_a_gpu_are_told_of() -> None:
    on_gpu = replace(PAPER, device="cuda")
    (said,) = placement.choose(machine(cores=8, gpus=1), on_gpu, 5).warnings
    assert "5 learners share 1 GPU" in said
    assert placement.choose(machine(cores=8, gpus=5), on_gpu, 5).warnings == ()


def test_in_async_tickets_are_as_large_as_every_actor_can_have_two_of() -> None:
    free = replace(PAPER, schedule="async")
    chosen = placement.choose(machine(cores=8), free, 5, LEFT_OPEN)
    size = chosen.config.collection.episodes_per_ticket
    assert size == 16
    assert tickets.tickets_per_iteration(chosen.config) >= 2 * chosen.actors
    assert f"--collection.episodes-per-ticket {size}" in chosen.reasons[1]
    small = placement.choose(machine(cores=8), free, 5, LEFT_OPEN, largest_ticket=4)
    assert small.config.collection.episodes_per_ticket == 4
    assert placement.choose(machine(cores=8), free, 5).config == free
    games = presets.in_environment(free, "smac")
    assert placement.choose(machine(cores=8), games, 5, LEFT_OPEN).config == games


def test_all_that_was_chosen_is_said_and_warnings_are_marked() -> None:
    said: list[str] = []
    placement.choose(machine(cores=2), PAPER, 5).tell(said.append)
    assert len(said) == 2
    assert said[0].startswith("chose --actors 2")
    assert said[1].startswith("warning: 5 learners")
