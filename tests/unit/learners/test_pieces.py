"""Batches of pieces: what a learner makes of episodes that unrolls have cut."""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import torch

from dm2_dist import networks, snapshot, trajectory
from dm2_dist.functional import gae
from dm2_dist.sections import AsynchronyConfig
from learners import batch as learner_batch
from learners import loop
from learners.post_mortem import PostMortems, Update, load

CPU, L, N = torch.device("cpu"), 4, 4
DISCOUNT, LAMBDA = 0.97, 0.9


def cut_every(whole, length, memory):
    """Cut episodes laid end to end after every `length` action rows, as unrolls would.

    Args:
        whole: of whole episodes; its last rows are left out so that all pieces fill unrolls.
        length: n.
        memory: float32 [N, 2, H] core states after each observation row.
    """
    steps = whole.env_steps // length * length
    kept = np.arange(steps)
    start = np.cumsum(whole.length) - whole.length
    episode = np.repeat(np.arange(whole.num_episodes), whole.length)[:steps]
    begins = (kept % length == 0) | np.isin(kept, start)
    begin = np.flatnonzero(begins)
    end = np.append(begin[1:], steps)
    over = (end == (start + whole.length)[episode[begin]]).astype(np.uint8)
    first = np.isin(begin, start)
    # The observation before action row r of episode e is row r + e.
    seen = np.concatenate(
        [np.arange(b, e + 1) + episode[b] for b, e in zip(begin, end, strict=True)]
    )
    before = begin + episode[begin] - 1
    core_state = np.where(first[:, None, None], 0, memory[before]).astype(np.float32)
    sums = np.concatenate([[0.0], np.cumsum(whole.reward, dtype=np.float64)])
    opened = start[episode[begin]]
    return trajectory.Slice(
        observation=whole.observation[seen],
        available_actions=whole.available_actions[seen],
        alive=whole.alive[seen],
        action=whole.action[:steps],
        behaviour_log_prob=whole.behaviour_log_prob[:steps],
        reward=whole.reward[:steps],
        length=(end - begin).astype(np.int32),
        terminated=whole.terminated[episode[begin]] * over,
        truncated=whole.truncated[episode[begin]] * over,
        won=whole.won[episode[begin]] * over,
        entering=trajectory.Entering(
            steps_before=(begin - opened).astype(np.int32),
            return_before=(sums[begin] - sums[opened]).astype(np.float32),
            previous_action=np.where(first, np.int16(-1), whole.action[begin - 1]),
            core_state=core_state,
        ),
    )


@pytest.fixture
def learner(configure, make_learner):
    """A learner whose networks are far from their quiet start."""
    learner = make_learner(configure())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for network in (learner.policy, learner.critic):
            for tensor in network.parameters():
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return learner


def prepare(part, chunk_length=L):
    return learner_batch.prepare(part, 0, 2, chunk_length, CPU)


def walk(learner, batch):
    """Outputs and core states of policy and critic."""
    return (
        learner.policy.walk(batch.inputs, batch.order, batch.policy_memory),
        learner.critic.walk(batch.inputs, batch.order, batch.critic_memory),
    )


@pytest.fixture
def whole(batches):
    return batches[0]


@pytest.fixture
def pieces(learner, whole):
    batch = prepare(whole)
    (_, policy_core), (_, critic_core) = walk(learner, batch)
    return cut_every(whole, N, torch.stack([policy_core, critic_core], dim=1).numpy())


def test_the_pieces_show_what_there_is_to_show(pieces, whole):
    first, ended = pieces.entering.first, pieces.ended
    for began in (False, True):
        for over in (False, True):
            assert ((first == began) & (ended == over)).any()
    assert pieces.num_started == first.sum()
    np.testing.assert_allclose(
        pieces.returns()[ended], whole.returns()[: ended.sum()], rtol=0.0, atol=1e-5
    )


def test_walks_over_pieces_equal_walks_over_whole_episodes(learner, whole, pieces):
    uncut, cut = prepare(whole), prepare(pieces)
    kept = pieces.env_steps
    for (expected, _), (got, core_state) in zip(
        walk(learner, uncut), walk(learner, cut), strict=True
    ):
        wanted = expected[uncut.rows.observation_row][:kept]
        torch.testing.assert_close(got[cut.rows.observation_row], wanted, atol=1e-5, rtol=0.0)
        assert core_state.shape[0] == cut.inputs.shape[0] + pieces.num_episodes


def test_the_last_row_of_a_cut_piece_has_the_value_of_the_row_that_goes_on(learner, pieces):
    batch = prepare(pieces)
    (_, _), (value, _) = walk(learner, batch)
    starts = trajectory.starts(pieces.length)
    cut = np.flatnonzero(~pieces.ended)[:-1]
    assert len(cut) > 3
    torch.testing.assert_close(
        value[starts[cut] + pieces.length[cut]], value[starts[cut + 1]], atol=1e-5, rtol=0.0
    )


def plain_advantages(part, reward, value):
    """The recursion, written out for one piece after the other."""
    result, starts = np.zeros(part.env_steps), trajectory.starts(part.length)
    for piece, end in enumerate(np.cumsum(part.length)):
        carried = 0.0
        for t in reversed(range(part.length[piece])):
            row, step = starts[piece] + t, end - part.length[piece] + t
            over = t == part.length[piece] - 1 and part.terminated[piece]
            following = 0.0 if over else value[row + 1]
            carried = reward[step] + DISCOUNT * following - value[row] + DISCOUNT * LAMBDA * carried
            result[step] = carried
    return result


def test_advantages_bootstrap_where_a_piece_was_cut_and_where_the_time_was_up(learner, pieces):
    batch = prepare(pieces)
    value = walk(learner, batch)[1][0].squeeze(-1)
    got = gae.advantages(batch.reward, value, batch.terminated, batch.rows, DISCOUNT, LAMBDA)
    expected = plain_advantages(pieces, pieces.reward, value.double().numpy())
    np.testing.assert_allclose(got.numpy(), expected, rtol=0.0, atol=1e-5)


def test_one_step_advantages_do_not_know_that_episodes_were_cut(learner, whole, pieces):
    results = []
    for part in (whole, pieces):
        batch = prepare(part)
        value = walk(learner, batch)[1][0].squeeze(-1)
        results.append(
            gae.advantages(batch.reward, value, batch.terminated, batch.rows, DISCOUNT, 0.0)
        )
    torch.testing.assert_close(results[1], results[0][: pieces.env_steps], atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("chunk_length", [1, 3, 4, 8, 100])
def test_unroll_of_chunks_equals_the_walk_over_pieces(learner, pieces, chunk_length):
    batch = prepare(pieces, chunk_length)
    for network, unroll, walked in zip(
        (learner.policy, learner.critic),
        (batch.policy, batch.critic),
        walk(learner, batch),
        strict=True,
    ):
        expected, core_state = walked
        outputs = network.unroll(unroll.inputs, unroll.keep, unroll.entering(core_state))
        counts = unroll.weight > 0
        row = batch.rows.observation_row[unroll.action_row]
        torch.testing.assert_close(outputs[counts], expected[row][counts], atol=1e-5, rtol=0.0)


def test_every_row_is_unrolled_once(pieces):
    for chunk_length in (3, 4, 100):
        batch = prepare(pieces, chunk_length)
        rows = batch.critic.action_row[batch.critic.weight > 0]
        assert sorted(rows.tolist()) == list(range(pieces.env_steps))
        rows = batch.policy.action_row[batch.policy.weight > 0]
        assert sorted(rows.tolist()) == torch.nonzero(batch.alive).squeeze(-1).tolist()


def gradients(learner, part, kept):
    """Of one sum over the first `kept` action rows, through chunks of both networks."""
    batch = prepare(part)
    found = []
    for network, unroll, (_, core_state) in zip(
        (learner.policy, learner.critic),
        (batch.policy, batch.critic),
        walk(learner, batch),
        strict=True,
    ):
        network.zero_grad()
        outputs = network.unroll(unroll.inputs, unroll.keep, unroll.entering(core_state))
        weight = unroll.weight * (unroll.action_row < kept) * (1 + unroll.action_row % 3)
        (outputs.square().sum(-1) * weight).sum().div(kept).backward()
        found += [tensor.grad.clone() for tensor in network.parameters()]
    return found


def test_gradients_through_chunks_equal_those_of_whole_episodes(learner, whole, pieces):
    """Where unrolls end with chunks, the same rows feed the same steps of back-propagation."""
    everyone = dataclasses.replace(whole, alive=np.ones_like(whole.alive))
    cut = dataclasses.replace(pieces, alive=np.ones_like(pieces.alive))
    expected = gradients(learner, everyone, pieces.env_steps)
    for got, wanted in zip(gradients(learner, cut, pieces.env_steps), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_the_last_action_goes_on_across_a_cut(whole, pieces):
    inputs = networks.network_input(pieces, 0, 2)
    expected = networks.network_input(whole, 0, 2)
    rows = trajectory.action_rows(pieces.length)
    uncut = trajectory.action_rows(whole.length)[: pieces.env_steps]
    np.testing.assert_array_equal(inputs[rows], expected[uncut])


def test_a_snapshot_holds_the_critic_only_where_unrolls_are_played(configure, make_learner):
    config = configure()
    assert not snapshot.critic_of(make_learner(config).snapshot())
    unrolls = dataclasses.replace(
        config, schedule="async", asynchrony=AsynchronyConfig(unit="unrolls")
    )
    learner = make_learner(unrolls)
    both = learner.snapshot()
    for part, network in (
        (snapshot.policy_of(both), learner.policy),
        (snapshot.critic_of(both), learner.critic),
    ):
        state = network.state_dict()
        assert part.keys() == state.keys()
        assert all(np.array_equal(part[name], state[name].numpy()) for name in part)


def test_living_time_is_counted_per_episode_that_starts(pieces, whole, configure, make_learner):
    everyone = dataclasses.replace(whole, alive=np.ones_like(whole.alive))
    cut = dataclasses.replace(pieces, alive=np.ones_like(pieces.alive))
    imitation = make_learner(configure("dm2"), 0, everyone).imitation
    assert imitation.living_time_log_ratio(everyone) == 0.0
    expected = np.log(everyone.length.mean() / (cut.env_steps / cut.num_started))
    assert imitation.living_time_log_ratio(cut) == pytest.approx(expected)
    nothing = dataclasses.replace(cut.entering, steps_before=cut.entering.steps_before + 1)
    none_starts = dataclasses.replace(cut, entering=nothing)
    assert np.isfinite(imitation.living_time_log_ratio(none_starts))


@pytest.mark.parametrize("algorithm", ["ippo", "dm2", "impala"])
def test_a_learner_trains_on_pieces(algorithm, pieces, whole, configure, make_learner):
    config = dataclasses.replace(
        configure(algorithm), schedule="async", asynchrony=AsynchronyConfig(unit="unrolls")
    )
    learner = make_learner(config, 0, whole)
    before = learner.parameters_sha256()
    metrics = learner.update(pieces, 0)
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["skipped_steps"] == 0.0
    assert learner.parameters_sha256() != before


def test_results_are_those_of_episodes_that_ended(pieces):
    ended = pieces.ended
    results = loop.results(pieces)
    assert results["train_win_rate"] == pytest.approx(pieces.won[ended].mean())
    assert results["train_return_mean"] == pytest.approx(pieces.returns()[ended].mean())
    nothing = np.zeros_like(pieces.won)
    assert loop.results(dataclasses.replace(pieces, terminated=nothing, truncated=nothing)) == {}


def test_a_post_mortem_keeps_the_past_of_pieces(pieces, tmp_path):
    state = safetensors.torch.save({"a": torch.zeros(1)})
    PostMortems(tmp_path / "kept", 0).save(Update(state, pieces, 3), "a reason")
    _, kept, iteration = load(next((tmp_path / "kept").iterdir()))
    assert iteration == 3
    for name, array in trajectory.arrays_of(pieces).items():
        np.testing.assert_array_equal(trajectory.arrays_of(kept)[name], array)
