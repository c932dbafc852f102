"""Playing a ticket, on the embedded simulator, with policies that are not yet any good."""

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from actors import actor
from dm2_dist import networks, trajectory
from dm2_dist.envs import make
from dm2_dist.envs.interface import GameLost
from dm2_dist.functional import categorical, episodes
from dm2_dist.inference import StackedPolicy
from dm2_dist.sections import NetworkConfig
from dm2_dist.ticket import Ticket

K = 3
TICKET = Ticket(
    kind="train",
    iteration=0,
    index=0,
    seeds=(11, 2**64 - 1, 13, 14),
    versions=(0,) * K,
    greedy=False,
)
OTHER = replace(TICKET, index=1, seeds=(21, 22, 23, 24))


@pytest.fixture(scope="module")
def networks_of_team():
    """Torch policies with large heads, so that actions are far from uniform."""
    spec = make.describe("skirmish", "3m")
    config = NetworkConfig(hidden_size=32, policy_head_gain=2.0)
    size = spec.observation_size + spec.num_actions + K
    return [networks.make_policy(size, spec.num_actions, config, 5, k) for k in range(K)]


@pytest.fixture(scope="module")
def policy(networks_of_team):
    return StackedPolicy(
        [
            {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
            for network in networks_of_team
        ]
    )


@pytest.fixture(scope="module")
def battles():
    return make.make_batch("skirmish", "3m", len(TICKET.seeds))


def play(ticket, policy, battles):
    return actor.play(ticket, policy, battles, lambda: None)


@pytest.fixture(scope="module")
def played(policy, battles):
    return play(TICKET, policy, battles)


def as_bytes(slices):
    return [getattr(part, name).tobytes() for part in slices for name in trajectory.SLICE_FIELDS]


def rows_of(part, episode):
    """Where the observation rows and the action rows of one episode lie."""
    steps = part.length[:episode].sum()
    length = part.length[episode]
    return slice(steps + episode, steps + episode + length + 1), slice(steps, steps + length)


class Abandoned(Exception):
    pass


# --- a pure function ---


def test_the_same_ticket_gives_the_same_bytes_whatever_was_played_between(policy, battles, played):
    between = play(OTHER, policy, battles)
    assert as_bytes(between) != as_bytes(played)
    assert as_bytes(play(TICKET, policy, battles)) == as_bytes(played)


def test_the_same_ticket_gives_the_same_bytes_on_other_battles(policy, played):
    fresh = make.make_batch("skirmish", "3m", len(TICKET.seeds))
    assert as_bytes(play(TICKET, policy, fresh)) == as_bytes(played)


def test_an_abandoned_ticket_leaves_nothing_behind(policy, battles, played):
    steps = iter(range(5))

    def leave_after_five():
        if next(steps, None) is None:
            raise Abandoned

    with pytest.raises(Abandoned):
        actor.play(OTHER, policy, battles, leave_after_five)
    assert as_bytes(play(TICKET, policy, battles)) == as_bytes(played)


def test_tickets_of_other_sizes_do_not_matter(policy, battles, played):
    for seeds in ((31,), (32, 33)):
        small = replace(OTHER, seeds=seeds)
        play(small, policy, make.make_batch("skirmish", "3m", len(seeds)))
    assert as_bytes(play(TICKET, policy, battles)) == as_bytes(played)


def test_each_episode_follows_from_its_own_seed(policy, battles, played):
    """Its neighbours in the ticket and its place there play no part."""
    mixed = replace(TICKET, seeds=(21, TICKET.seeds[0], 23, TICKET.seeds[1]))
    again = play(mixed, policy, battles)
    for first, second in zip(played, again, strict=True):
        for here, there in ((0, 1), (1, 3)):
            rows, steps = rows_of(first, here)
            rows_again, steps_again = rows_of(second, there)
            np.testing.assert_array_equal(first.action[steps], second.action[steps_again])
            np.testing.assert_array_equal(first.reward[steps], second.reward[steps_again])
            np.testing.assert_array_equal(first.observation[rows], second.observation[rows_again])


@pytest.mark.parametrize("episode", range(len(TICKET.seeds)))
def test_an_episode_is_the_same_to_the_bit_when_it_is_played_alone(policy, played, episode):
    """So how many episodes a ticket has says nothing about any of them."""
    seeds = (TICKET.seeds[episode],)
    alone = play(replace(TICKET, seeds=seeds), policy, make.make_batch("skirmish", "3m", 1))
    for whole, part in zip(played, alone, strict=True):
        rows, steps = rows_of(whole, episode)
        for name in ("observation", "available_actions", "alive"):
            assert getattr(whole, name)[rows].tobytes() == getattr(part, name).tobytes()
        for name in ("action", "behaviour_log_prob", "reward"):
            assert getattr(whole, name)[steps].tobytes() == getattr(part, name).tobytes()


def test_steps_leave_no_memory_behind(policy, battles):
    """What a ticket needs is there before its first step."""
    used = np.zeros((battles.episode_limit, 2), np.int64)
    steps = itertools.count()

    def note():
        used[next(steps)] = tracemalloc.get_traced_memory()

    tracemalloc.start()
    try:
        for _ in range(8):  # the interpreter keeps a few small objects for later
            play(TICKET, policy, battles)
        tracemalloc.reset_peak()
        actor.play(TICKET, policy, battles, note)
    finally:
        tracemalloc.stop()
    last = next(steps) - 1
    assert last > 10
    held, peak = used[last] - used[2]
    assert held < 2048
    assert peak < 4096, "no array of a step's size"


def test_other_parameters_give_other_episodes(networks_of_team, battles, played):
    swapped = [networks_of_team[k] for k in (1, 0, 2)]
    other = StackedPolicy(
        [{n: t.detach().numpy() for n, t in network.state_dict().items()} for network in swapped]
    )
    assert as_bytes(play(TICKET, other, battles)) != as_bytes(played)


def test_the_results_are_copies_that_later_battles_leave_alone(policy, battles):
    first = play(TICKET, policy, battles)
    before = as_bytes(first)
    play(OTHER, policy, battles)
    assert as_bytes(first) == before


def test_every_step_lets_the_connections_breathe(policy, battles, played):
    calls = []
    actor.play(TICKET, policy, battles, lambda: calls.append(None))
    assert len(calls) == played[0].length.max()


def test_a_greedy_ticket_takes_the_most_probable_action(policy, networks_of_team, battles):
    ticket = replace(TICKET, kind="evaluate", greedy=True)
    slices = play(ticket, policy, battles)
    assert as_bytes(play(ticket, policy, battles)) == as_bytes(slices)
    for agent, part in enumerate(slices):
        log_probs = recomputed(networks_of_team[agent], part, agent)
        taken = log_probs[np.arange(part.env_steps), part.action]
        np.testing.assert_allclose(taken, log_probs.max(axis=1), atol=1e-5)


# --- the conventions of the arrays ---


def test_shapes_and_types_are_those_of_a_slice(played, battles):
    assert len(played) == K
    for part in played:
        steps, episodes_ = int(part.length.sum()), len(TICKET.seeds)
        rows = steps + episodes_
        expected = {
            "observation": (np.float32, (rows, battles.observation_size)),
            "available_actions": (np.uint8, (rows, battles.num_actions)),
            "alive": (np.uint8, (rows,)),
            "action": (np.uint8, (steps,)),
            "behaviour_log_prob": (np.float32, (steps,)),
            "reward": (np.float32, (steps,)),
            "length": (np.int32, (episodes_,)),
            "terminated": (np.uint8, (episodes_,)),
            "truncated": (np.uint8, (episodes_,)),
            "won": (np.uint8, (episodes_,)),
        }
        found = {n: (getattr(part, n).dtype.type, getattr(part, n).shape) for n in expected}
        assert found == expected
        assert ((part.length >= 1) & (part.length <= battles.episode_limit)).all()


def test_every_episode_ends_for_one_reason(played, battles):
    for part in played:
        assert (part.terminated + part.truncated == 1).all()
        assert (part.length[part.truncated == 1] == battles.episode_limit).all()
        assert (part.won <= part.terminated).all()


def idle(networks_of_team):
    """Policies that stop, whatever they see."""
    parameters = [
        {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}
        for network in networks_of_team
    ]
    for own in parameters:
        own["head.weight"][:] = 0.0
        own["head.bias"][:] = 0.0
        own["head.bias"][1] = 50.0
    return StackedPolicy(parameters)


def test_an_undecided_battle_is_truncated_at_the_limit(battles, networks_of_team):
    class Peaceful:
        """Battles in which nothing ever happens."""

        num_agents, num_actions = battles.num_agents, battles.num_actions
        observation_size, episode_limit = battles.observation_size, battles.episode_limit

        def reset(self, seeds):
            count = len(seeds)
            self.observation = np.zeros((count, K, self.observation_size), np.float32)
            self.available_actions = np.ones((count, K, self.num_actions), np.uint8)
            self.alive = np.ones((count, K), np.uint8)
            self.reward = np.zeros(count, np.float32)
            self.terminated = np.zeros(count, np.uint8)
            self.truncated = np.zeros(count, np.uint8)
            self.won = np.zeros(count, np.uint8)
            self.finished = np.zeros(count, np.uint8)
            self.episode_steps = np.zeros(count, np.int32)

        def step(self, actions):
            assert (actions == 1).all()
            self.episode_steps += 1
            self.truncated[:] = self.finished[:] = self.episode_steps >= self.episode_limit

    for part in play(TICKET, idle(networks_of_team), Peaceful()):
        assert part.length.tolist() == [battles.episode_limit] * len(TICKET.seeds)
        assert part.truncated.all()
        assert not part.terminated.any()


def test_what_the_team_shares_is_the_same_for_every_agent(played):
    for name in ("reward", "length", "terminated", "truncated", "won"):
        for part in played[1:]:
            np.testing.assert_array_equal(getattr(part, name), getattr(played[0], name))


def test_the_dead_stay_dead_and_can_do_nothing(played):
    deaths = 0
    for part in played:
        available = part.available_actions[trajectory.action_rows(part.length)]
        assert available[np.arange(part.env_steps), part.action].all(), "an illegal action"
        for episode in range(part.num_episodes):
            rows, steps = rows_of(part, episode)
            alive = part.alive[rows].astype(np.int8)
            assert alive[0] == 1
            assert (np.diff(alive) <= 0).all()
            dead = alive == 0
            deaths += dead.any()
            assert not part.observation[rows][dead].any()
            nothing_but_no_op = [1] + [0] * (available.shape[1] - 1)
            assert (part.available_actions[rows][dead] == nothing_but_no_op).all()
            assert not part.action[steps][dead[:-1]].any()
            assert not part.behaviour_log_prob[steps][dead[:-1]].any()
            assert not part.available_actions[rows][~dead][:, 0].any()
    assert deaths > 0, "these battles show nothing"


def test_the_first_observation_is_the_one_after_the_reset(played, battles):
    battles.reset(np.array(TICKET.seeds, dtype=np.uint64))
    for agent, part in enumerate(played):
        first = trajectory.starts(part.length)
        np.testing.assert_array_equal(part.observation[first], battles.observation[:, agent])
        np.testing.assert_array_equal(
            part.available_actions[first], battles.available_actions[:, agent]
        )


def test_played_again_by_hand_the_actions_give_the_recorded_battle(played, battles):
    """observation[t] -> action[t] -> reward[t] -> observation[t + 1], to the last observation."""
    battles.reset(np.array(TICKET.seeds, dtype=np.uint64))
    for step in range(int(played[0].length.max())):
        actions = np.zeros((len(TICKET.seeds), K), dtype=np.int64)
        running = np.flatnonzero(played[0].length > step)
        for episode in running:
            for agent, part in enumerate(played):
                actions[episode, agent] = part.action[rows_of(part, episode)[1]][step]
        battles.step(actions)
        for episode in running:
            for agent, part in enumerate(played):
                rows, steps = rows_of(part, episode)
                assert part.reward[steps][step] == battles.reward[episode]
                np.testing.assert_array_equal(
                    part.observation[rows][step + 1], battles.observation[episode, agent]
                )


def recomputed(network, part, agent):
    """Log-probabilities of all actions by the torch policy over whole episodes, float32 [R, A]."""
    inputs = torch.from_numpy(networks.network_input(part, agent, K))
    order = episodes.time_order(part.length)
    logits, _ = network.walk(networks.standardise(inputs), order)
    rows = trajectory.action_rows(part.length)
    unavailable = torch.from_numpy(part.available_actions[rows] == 0)
    return categorical.log_probs(logits[torch.from_numpy(rows)], unavailable).numpy()


def test_the_learner_finds_the_log_probabilities_of_the_actor(networks_of_team, played):
    """So core states, last actions and ids are those that the actor used, at every step."""
    for agent, part in enumerate(played):
        log_probs = recomputed(networks_of_team[agent], part, agent)
        taken = log_probs[np.arange(part.env_steps), part.action]
        np.testing.assert_allclose(taken, part.behaviour_log_prob, rtol=0.0, atol=1e-5)
        assert np.ptp(part.behaviour_log_prob) > 1.0, "a policy that shows nothing"


# --- lost games ---


class Losing:
    """Battles whose game goes down at given steps, counted over all playings."""

    def __init__(self, battles, at):
        self._battles, self._at, self._steps = battles, set(at), 0

    def __getattr__(self, name):
        return getattr(self._battles, name)

    def step(self, actions):
        self._steps += 1
        if self._steps in self._at:
            raise GameLost("the game has gone")
        self._battles.step(actions)


def test_a_playing_that_a_lost_game_cut_off_leaves_nothing_in_the_next(policy, battles, played):
    lost = []
    losing = Losing(battles, at=(1, 9, 25))
    slices = actor.play_to_the_end(TICKET, policy, losing, lambda: None, lost.append)
    assert [str(each) for each in lost] == ["the game has gone"] * 3
    assert as_bytes(slices) == as_bytes(played)


def test_what_is_no_lost_game_is_not_played_again(policy, battles):
    def leave():
        raise Abandoned

    with pytest.raises(Abandoned):
        actor.play_to_the_end(TICKET, policy, battles, leave, lambda _: None)
