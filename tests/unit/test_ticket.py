import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.sections import CollectionConfig, EvaluationConfig, ImitationConfig


def make_config(episodes=10, per_ticket=4, **keys):
    return RunConfig(
        collection=CollectionConfig(
            episodes_per_iteration=episodes, episodes_per_ticket=per_ticket
        ),
        imitation=ImitationConfig(episodes_per_step=1),
        **keys,
    )


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 5))
def test_an_iteration_is_cut_into_tickets_without_rest(episodes, per_ticket, iteration):
    config = make_config(episodes, per_ticket)
    cut = tickets.train_tickets(config, iteration, num_agents=3)
    sizes = [len(ticket.seeds) for ticket in cut]
    assert sum(sizes) == episodes
    assert sizes[:-1] == [per_ticket] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= per_ticket
    assert len(cut) == tickets.tickets_per_iteration(config)
    assert [ticket.index for ticket in cut] == list(range(len(cut)))


def test_no_seed_and_no_name_is_used_twice():
    config = make_config(evaluation=EvaluationConfig(episodes=5))
    everything = [
        *itertools.chain.from_iterable(tickets.train_tickets(config, i, 2) for i in range(5)),
        *itertools.chain.from_iterable(tickets.evaluate_tickets(config, v, 2) for v in range(5)),
        *tickets.record_tickets(config, 9, (4, 4), greedy=False),
    ]
    seeds = [seed for ticket in everything for seed in ticket.seeds]
    assert len(set(seeds)) == len(seeds) == 5 * 10 + 5 * 5 + 9
    assert len({ticket.ticket_id for ticket in everything}) == len(everything)


def test_seeds_follow_from_the_run_seed():
    config = make_config(seed=1)
    again = tickets.train_tickets(make_config(seed=1), 3, 2)
    other = tickets.train_tickets(replace(config, seed=2), 3, 2)
    assert tickets.train_tickets(config, 3, 2) == again
    assert not set(again[0].seeds) & set(other[0].seeds)


def test_the_cut_moves_no_seed():
    coarse = tickets.train_tickets(make_config(per_ticket=10), 2, 2)
    fine = tickets.train_tickets(make_config(per_ticket=3), 2, 2)
    assert coarse[0].seeds == tuple(itertools.chain.from_iterable(t.seeds for t in fine))


@pytest.mark.parametrize(
    ("schedule", "versions"), [("sync", [0, 1, 2]), ("pipelined", [0, 0, 1]), ("async", [0, 0, 0])]
)
def test_the_schedule_fixes_the_version_that_plays(schedule, versions):
    config = make_config(schedule=schedule)
    assert [tickets.train_version(config, iteration) for iteration in range(3)] == versions
    for iteration, version in enumerate(versions):
        for ticket in tickets.train_tickets(config, iteration, num_agents=3):
            assert ticket.versions == (version,) * 3
            assert (ticket.kind, ticket.iteration, ticket.greedy) == ("train", iteration, False)
            assert ticket.newest == (schedule == "async")


def test_an_evaluation_is_greedy_and_uses_one_version():
    config = make_config(evaluation=EvaluationConfig(episodes=6))
    cut = tickets.evaluate_tickets(config, 7, num_agents=2)
    assert sum(len(ticket.seeds) for ticket in cut) == 6
    assert all(ticket.greedy and ticket.versions == (7, 7) for ticket in cut)
    assert [ticket.ticket_id for ticket in cut] == ["evaluate/7/0", "evaluate/7/1"]


@pytest.mark.parametrize("greedy", [True, False])
def test_a_recording_plays_the_versions_it_is_given(greedy):
    cut = tickets.record_tickets(make_config(), 5, (3, 8), greedy)
    assert [len(ticket.seeds) for ticket in cut] == [4, 1]
    assert all(ticket.greedy is greedy and ticket.versions == (3, 8) for ticket in cut)
