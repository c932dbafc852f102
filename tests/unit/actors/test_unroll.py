"""Playing unrolls on the embedded simulator: pieces that fit together to whole battles."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from actors import team, unroll
from actors.player import Player
from dm2_dist import networks, seeding, snapshot, trajectory
from dm2_dist.config import RunConfig
from dm2_dist.envs import make
from dm2_dist.envs.interface import GameLost
from dm2_dist.functional import categorical, episodes
from dm2_dist.sections import AsynchronyConfig, NetworkConfig
from dm2_dist.ticket import Ticket

K, E, N, HIDDEN = 3, 4, 7, 32


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small tensors on many threads are slow."""
    torch.set_num_threads(1)


def tickets(number, size=E):
    return [
        Ticket(
            kind="train",
            iteration=0,
            index=index,
            seeds=tuple(seeding.derive("test", index, place) for place in range(size)),
            versions=(0,) * K,
            greedy=False,
            newest=True,
        )
        for index in range(number)
    ]


def make_networks(seed):
    """Policies with large heads, so that actions are far from uniform, and their critics."""
    spec = make.describe("skirmish", "3m")
    config = NetworkConfig(hidden_size=HIDDEN, policy_head_gain=2.0)
    size = spec.observation_size + spec.num_actions + K
    return [
        (
            networks.make_policy(size, spec.num_actions, config, seed, k),
            networks.make_critic(size, config, seed, k),
        )
        for k in range(K)
    ]


def snapshots(pairs):
    def arrays(network):
        return {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}

    return [snapshot.join(arrays(policy), arrays(critic)) for policy, critic in pairs]


def assemble(pairs):
    return team.assemble(snapshots(pairs))


@pytest.fixture(scope="module")
def pairs():
    return make_networks(5)


@pytest.fixture(scope="module")
def players(pairs):
    return assemble(pairs)


@pytest.fixture(scope="module")
def battles():
    return make.make_batch("skirmish", "3m", E)


def lost_never(lost):
    raise AssertionError(lost)


def play(unrolls, work, players, battles, on_step=lambda: None, on_lost=lost_never):
    return [unrolls.play_unroll(each, players, battles, on_step, on_lost) for each in work]


@pytest.fixture(scope="module")
def played(players, battles):
    """Unroll after unroll of the same battles, [tickets][K]."""
    return play(unroll.Unrolls(N), tickets(40), players, battles)


def as_bytes(slices):
    return [array.tobytes() for part in slices for array in trajectory.arrays_of(part).values()]


def pieces_of(part):
    """The pieces of a slice: observation rows, action rows and number of each."""
    ends = np.cumsum(part.length)
    for piece, (end, length) in enumerate(zip(ends, part.length, strict=True)):
        begin = end - length
        yield piece, slice(begin + piece, end + piece + 1), slice(begin, end)


def battle_of(part, piece):
    return int(np.cumsum(part.length)[piece] - 1) // N


def whole_battles(played, agent):
    """Pieces of the same battle side by side: [(slice, piece), ...] of each battle that ended."""
    open_, whole = {}, []
    for slices in played:
        part = slices[agent]
        for piece, _, _ in pieces_of(part):
            place = battle_of(part, piece)
            if part.entering.first[piece]:
                assert place not in open_, "a battle was forgotten"
                open_[place] = []
            open_[place].append((part, piece))
            if part.ended[piece]:
                whole.append(open_.pop(place))
    return whole


def stitched(parts):
    """One whole episode made of its pieces, as a slice."""
    rows = [list(pieces_of(part))[piece][1:] for part, piece in parts]
    last = len(parts) - 1

    def seen(name):
        return np.concatenate(
            [
                getattr(part, name)[observed][: None if i == last else -1]
                for i, ((part, _), (observed, _)) in enumerate(zip(parts, rows, strict=True))
            ]
        )

    def done(name):
        acted = zip(parts, rows, strict=True)
        return np.concatenate([getattr(part, name)[steps] for (part, _), (_, steps) in acted])

    part, piece = parts[-1]
    return trajectory.Slice(
        **{name: seen(name) for name in ("observation", "available_actions", "alive")},
        **{name: done(name) for name in ("action", "behaviour_log_prob", "reward")},
        length=np.array([sum(p.length[i] for p, i in parts)], np.int32),
        **{
            name: getattr(part, name)[piece : piece + 1]
            for name in ("terminated", "truncated", "won")
        },
    )


def walked(network, parts, agent, memory):
    """Outputs of one network over several slices, one tensor each."""
    part = trajectory.concatenate(parts)
    inputs = networks.standardise(torch.from_numpy(networks.network_input(part, agent, K)))
    entering = None
    if part.entering is not None:
        entering = torch.from_numpy(part.entering.core_state[:, memory])
    outputs, _ = network.walk(inputs, episodes.time_order(part.length), entering)
    return outputs.split([each.observation.shape[0] for each in parts])


# --- what an unroll holds ---


def test_every_battle_fills_its_unroll_and_only_the_end_of_it_cuts(played):
    cut = over = 0
    for slices in played:
        for part in slices:
            assert part.env_steps == E * N
            assert part.observation.shape[0] == E * N + part.num_episodes
            end = np.cumsum(part.length)
            assert set(np.arange(1, E + 1) * N) <= set(end.tolist())
            assert part.ended[end % N != 0].all()
            begins = (end - part.length) % N == 0
            assert part.entering.first[~begins].all()
            cut += (~part.ended).sum()
            over += part.ended.sum()
    assert cut > 20
    assert over > 20


def test_a_piece_that_begins_has_no_past(played):
    for slices in played:
        for part in slices:
            first, entering = part.entering.first, part.entering
            assert not entering.core_state[first].any()
            assert not entering.return_before[first].any()
            assert (entering.previous_action[first] == -1).all()
            assert (entering.previous_action[~first] >= 0).all()
            assert entering.core_state[~first].any(axis=(1, 2)).all()


def test_what_the_team_shares_is_the_same_for_every_agent(played):
    for slices in played:
        for part in slices[1:]:
            for name in ("reward", "length", "terminated", "truncated", "won"):
                np.testing.assert_array_equal(getattr(part, name), getattr(slices[0], name))
            for name in ("steps_before", "return_before"):
                ours, theirs = getattr(part.entering, name), getattr(slices[0].entering, name)
                np.testing.assert_array_equal(ours, theirs)


def test_pieces_fit_together(played):
    """The last observation of a piece is the first of the next, and its books go on."""
    for agent in range(K):
        spanning = [parts for parts in whole_battles(played, agent) if len(parts) > 1]
        assert spanning, "these battles show nothing"
        for parts in spanning:
            steps, total, last, action = 0, 0.0, None, None
            for part, piece in parts:
                _, seen, acted = list(pieces_of(part))[piece]
                assert part.entering.steps_before[piece] == steps
                assert part.entering.return_before[piece] == pytest.approx(total, abs=1e-5)
                if last is not None:
                    np.testing.assert_array_equal(part.observation[seen][0], last)
                    assert part.entering.previous_action[piece] == action
                last, action = part.observation[seen][-1], part.action[acted][-1]
                steps += part.length[piece]
                total += part.reward[acted].sum()
            assert part.returns()[piece] == pytest.approx(total, abs=1e-5)


def test_played_again_by_hand_the_pieces_give_the_whole_battle(played):
    """Its seed is that of the place and the step at which the battle before it ended."""
    work, alone = tickets(len(played)), make.make_batch("skirmish", "3m", 1)
    number = 0
    for parts in zip(*(whole_battles(played, agent) for agent in range(K)), strict=True):
        part, piece = parts[0][0]
        index = next(i for i, slices in enumerate(played) if slices[0] is part)
        place = battle_of(part, piece)
        step = int(np.cumsum(part.length)[piece] - part.length[piece]) - place * N
        seed = seeding.derive("unroll", work[index].seeds[place], step)
        alone.reset(np.array([seed], np.uint64))
        episode = [stitched(each) for each in parts]
        for t in range(int(episode[0].length[0])):
            for agent in range(K):
                seen = episode[agent].observation[t]
                np.testing.assert_array_equal(seen, alone.observation[0, agent])
            alone.step(np.array([[each.action[t] for each in episode]]))
            assert alone.reward[0] == episode[0].reward[t]
        for name in ("terminated", "truncated", "won"):
            assert getattr(alone, name)[0] == getattr(episode[0], name)[0]
        number += 1
    assert number > 20


@pytest.mark.parametrize("agent", range(K))
def test_pieces_are_to_the_learner_what_the_whole_battle_is(played, pairs, agent):
    """Logits, values and log-probabilities of pieces equal those of the uncut episodes."""
    policy, critic = pairs[agent]
    parts = [slices[agent] for slices in played]
    number = {id(part): i for i, part in enumerate(parts)}
    outputs = [walked(network, parts, agent, m) for m, network in enumerate((policy, critic))]
    battles = whole_battles(played, agent)
    assert len(battles) > 20
    wholes = [stitched(battle) for battle in battles]
    for memory, network in enumerate((policy, critic)):
        for battle, expected in zip(battles, walked(network, wholes, agent, memory), strict=True):
            at = 0
            for part, piece in battle:
                _, seen, _ = list(pieces_of(part))[piece]
                rows = outputs[memory][number[id(part)]][seen]
                # A policy rests once its agent is dead, and no loss asks for its logits there.
                asked = torch.from_numpy((part.alive[seen] != 0) | (memory == 1))
                wanted = expected[at : at + len(rows)]
                torch.testing.assert_close(rows[asked], wanted[asked], atol=1e-5, rtol=0.0)
                at += len(rows) - 1
    for part, logits in zip(parts, outputs[0], strict=True):
        rows = trajectory.action_rows(part.length)
        unavailable = torch.from_numpy(part.available_actions[rows] == 0)
        taken = categorical.log_probs(logits[torch.from_numpy(rows)], unavailable).numpy()
        taken = taken[np.arange(part.env_steps), part.action]
        np.testing.assert_allclose(taken, part.behaviour_log_prob, rtol=0.0, atol=1e-5)


def test_new_parameters_meet_the_core_state_of_the_old_ones(players, battles):
    first, second, third = tickets(3)
    other = assemble(make_networks(6))
    results = []
    for late in (players, other):
        unrolls = unroll.Unrolls(N)
        before = unrolls.play_unroll(first, players, battles, lambda: None, lost_never)
        results.append(
            (before, unrolls.play_unroll(second, late, battles, lambda: None, lost_never))
        )
    (before, same), (_, changed) = results
    assert as_bytes(same) != as_bytes(changed)
    for ours, theirs in zip(same, changed, strict=True):
        heads = [np.flatnonzero((np.cumsum(p.length) - p.length) % N == 0) for p in (ours, theirs)]
        for name in trajectory.ENTERING_FIELDS:
            values = [
                getattr(p.entering, name)[h] for p, h in zip((ours, theirs), heads, strict=True)
            ]
            np.testing.assert_array_equal(*values)
    assert third.seeds != second.seeds


def test_draws_follow_the_ticket(players, battles):
    first, second = tickets(2)
    again = play(unroll.Unrolls(N), [first, second], players, battles)
    assert as_bytes(again[1]) == as_bytes(
        play(unroll.Unrolls(N), [first, second], players, battles)[1]
    )
    repeated = play(
        unroll.Unrolls(N), [first, replace(second, seeds=first.seeds)], players, battles
    )
    assert as_bytes(repeated[0]) == as_bytes(again[0])
    assert as_bytes(repeated[1]) != as_bytes(again[1])


def test_results_are_copies_that_later_unrolls_leave_alone(players, battles):
    unrolls = unroll.Unrolls(N)
    first = play(unrolls, tickets(1), players, battles)[0]
    before = as_bytes(first)
    play(unrolls, tickets(3), players, battles)
    assert as_bytes(first) == before


# --- ends ---


class Peaceful:
    """Battles in which nothing ever happens, until the time is up."""

    num_envs, num_agents, num_actions, observation_size = 1, K, 9, 30
    episode_limit = N + 3

    def __init__(self):
        self.observation = np.zeros((1, K, self.observation_size), np.float32)
        self.available_actions = np.ones((1, K, self.num_actions), np.uint8)
        self.alive = np.ones((1, K), np.uint8)
        self.reward, self.episode_steps = np.ones(1, np.float32), np.zeros(1, np.int32)
        flags = [np.zeros(1, np.uint8) for _ in range(4)]
        self.terminated, self.truncated, self.won, self.finished = flags
        self.seeds = []

    def reset(self, seeds):
        for array in (self.observation, self.episode_steps, self.truncated, self.finished):
            array[:] = 0
        self.seeds.append(int(seeds[0]))

    def step(self, actions):
        assert not self.finished.any()
        self.episode_steps += 1
        self.observation[:] = self.episode_steps
        self.truncated[:] = self.finished[:] = self.episode_steps >= self.episode_limit


def test_a_battle_cut_by_the_unroll_is_not_one_cut_by_the_time_limit(players):
    work = tickets(3, size=1)
    battles = Peaceful()
    first, second, third = play(unroll.Unrolls(N), work, players, battles)
    for part in first:
        assert part.length.tolist() == [N]
        assert (part.truncated.tolist(), part.terminated.tolist()) == ([0], [0])
        assert part.observation[-1, 0] == N
    for part in second:
        assert part.length.tolist() == [3, N - 3]
        assert (part.truncated.tolist(), part.terminated.tolist()) == ([1, 0], [0, 0])
        assert part.entering.steps_before.tolist() == [N, 0]
        # The piece shows the true last observation, not the first of the battle after it.
        assert part.observation[:, 0].tolist() == [N, N + 1, N + 2, N + 3, 0, 1, 2, 3, 4]
        assert part.returns().tolist() == [N + 3, N - 3]
    assert third[0].length.tolist() == [6, 1]
    assert len(set(battles.seeds)) == 3


def test_a_battle_that_ends_with_its_unroll_is_not_carried_on(players):
    battles = Peaceful()
    battles.episode_limit = N
    first, second = play(unroll.Unrolls(N), tickets(2, size=1), players, battles)
    for part in (first[0], second[0]):
        assert part.truncated.tolist() == [1]
        assert part.entering.first.all()


# --- what is given up ---


class Abandoned(Exception):
    pass


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


def starts_afresh(slices):
    first = [np.flatnonzero((np.cumsum(p.length) - p.length) % N == 0) for p in slices]
    return all(p.entering.first[rows].all() for p, rows in zip(slices, first, strict=True))


def test_a_lost_game_begins_new_battles_and_ships_nothing_of_the_old(players, battles):
    first, second = tickets(2)
    lost = []
    losing, unrolls = Losing(battles, at=(N + 3, N + 8)), unroll.Unrolls(N)
    play(unrolls, [first], players, losing, on_lost=lost.append)
    slices = play(unrolls, [second], players, losing, on_lost=lost.append)[0]
    assert [str(each) for each in lost] == ["the game has gone"] * 2
    assert starts_afresh(slices)
    assert as_bytes(slices) == as_bytes(play(unroll.Unrolls(N), [second], players, battles)[0])


def test_an_abandoned_unroll_leaves_nothing_half_played(players, battles):
    first, second = tickets(2)
    unrolls, steps = unroll.Unrolls(N), iter(range(3))

    def leave():
        if next(steps, None) is None:
            raise Abandoned

    play(unrolls, [first], players, battles)
    with pytest.raises(Abandoned):
        play(unrolls, [first], players, battles, on_step=leave)
    assert starts_afresh(play(unrolls, [second], players, battles)[0])


def test_forgotten_battles_start_afresh_and_others_go_on(players, battles):
    first, second, third = tickets(3)
    unrolls = unroll.Unrolls(N)
    play(unrolls, [first], players, battles)
    assert not starts_afresh(play(unrolls, [second], players, battles)[0])
    small = make.make_batch("skirmish", "3m", 1)
    play(unrolls, [replace(third, seeds=third.seeds[:1])], players, small)
    assert not starts_afresh(play(unrolls, [third], players, battles)[0])
    unrolls.forget()
    assert starts_afresh(play(unrolls, [first], players, battles)[0])


def test_every_step_lets_the_connections_breathe(players, battles):
    calls = []
    play(unroll.Unrolls(N), tickets(2), players, battles, on_step=lambda: calls.append(None))
    assert len(calls) == 2 * N


def test_a_snapshot_without_a_critic_is_refused(pairs):
    policy = {n: t.detach().numpy() for n, t in pairs[0][0].state_dict().items()}
    with pytest.raises(KeyError):
        team.assemble([policy] * K)


def test_unrolls_are_played_without_torch():
    statement = "import sys, actors.unroll; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", statement], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


# --- tickets of all kinds ---


def test_only_training_is_cut_and_an_evaluation_takes_the_battles(pairs, battles):
    config = RunConfig(
        schedule="async", asynchrony=AsynchronyConfig(unit="unrolls", unroll_length=N)
    )
    parameters = snapshots(pairs)
    first, second, third = tickets(3)
    evaluation = replace(first, kind="evaluate", greedy=True, newest=False)

    def play(player, ticket):
        player.take(parameters)
        return player.play(ticket, battles, lambda: None, lost_never)

    one, two = Player(config), Player(RunConfig())
    assert play(one, first)[0].env_steps == E * N
    assert not starts_afresh(play(one, second))
    assert as_bytes(play(one, evaluation)) == as_bytes(play(two, evaluation))
    assert starts_afresh(play(one, third))
    assert play(two, replace(first, newest=False))[0].entering is None


def test_a_player_stacks_new_parameters(pairs, battles):
    config = RunConfig(
        schedule="async", asynchrony=AsynchronyConfig(unit="unrolls", unroll_length=N)
    )
    results = []
    for late in (pairs, make_networks(6)):
        player = Player(config)
        for ticket, networks_ in zip(tickets(2), (pairs, late), strict=True):
            player.take(snapshots(networks_))
            slices = player.play(ticket, battles, lambda: None, lost_never)
        results.append(as_bytes(slices))
    assert results[0] != results[1]
