import numpy as np
import torch

from learners import batch as learner_batch

CPU = torch.device("cpu")


def prepared(batches, chunk_length=4):
    return learner_batch.prepare(batches[0], 0, 2, chunk_length, CPU)


def test_critic_unrolls_every_action_row_once(batches):
    unroll = prepared(batches).critic
    rows = unroll.action_row[unroll.weight > 0]
    assert sorted(rows.tolist()) == list(range(batches[0].env_steps))


def test_policy_counts_every_living_row_once_and_unrolls_fewer(batches):
    batch = prepared(batches)
    rows = batch.policy.action_row[batch.policy.weight > 0]
    assert sorted(rows.tolist()) == torch.nonzero(batch.alive).squeeze(-1).tolist()
    assert batch.policy.weight.numel() < batch.critic.weight.numel()


def test_inputs_of_a_chunk_are_those_of_its_rows(batches):
    batch = prepared(batches)
    row = batch.rows.observation_row[batch.critic.action_row]
    assert torch.equal(batch.critic.inputs, batch.inputs[row])


def test_core_state_is_reset_exactly_on_first_rows(batches):
    batch = prepared(batches)
    starts = np.cumsum(batches[0].length) - batches[0].length
    first = np.isin(batch.critic.action_row.numpy(), starts)
    assert np.array_equal(batch.critic.keep.squeeze(-1).numpy() == 0.0, first)


def test_unroll_of_chunks_equals_the_walk_over_whole_episodes(batches, configure, make_learner):
    policy = make_learner(configure()).policy
    for chunk_length in (1, 4, 7, 1000):
        batch = prepared(batches, chunk_length)
        walked, core_state = policy.walk(batch.inputs, batch.order)
        unroll = batch.policy
        outputs = policy.unroll(unroll.inputs, unroll.keep, unroll.entering(core_state))
        expected = walked[batch.rows.observation_row[unroll.action_row]]
        torch.testing.assert_close(
            outputs[unroll.weight > 0], expected[unroll.weight > 0], atol=1e-6, rtol=0.0
        )


def test_chosen_chunks_are_unrolled_as_before(batches, configure, make_learner):
    policy, batch = make_learner(configure()).policy, prepared(batches)
    _, core_state = policy.walk(batch.inputs, batch.order)
    whole = batch.policy
    task = learner_batch.Task(whole.entering(core_state), (whole.inputs, whole.keep))
    entering, inputs, keep = task.chunks(torch.tensor([2, 0])).tensors()
    outputs = policy.unroll(whole.inputs, whole.keep, whole.entering(core_state))
    chosen = policy.unroll(inputs, keep, entering)
    torch.testing.assert_close(chosen, outputs[:, [2, 0]], atol=1e-6, rtol=0.0)


def test_every_chunk_is_dealt_to_one_step(batches, configure, make_learner):
    policy, batch = make_learner(configure()).policy, prepared(batches)
    _, core_state = policy.walk(batch.inputs, batch.order)
    unroll = batch.policy
    task = learner_batch.Task(unroll.entering(core_state), (unroll.action_row, unroll.weight))
    dealt = task.deal(3, torch.Generator().manual_seed(0))
    assert len(dealt) == 3
    parts = [task.chunks(chosen) for chosen in dealt]
    assert all(part.core_state.shape[0] == part.rows[0].shape[1] for part in parts)
    rows = torch.cat([part.rows[0] for part in parts], dim=1)
    assert sorted(rows.flatten().tolist()) == sorted(unroll.action_row.flatten().tolist())
    assert torch.equal(torch.cat(dealt).sort().values, torch.arange(len(task.core_state)))
