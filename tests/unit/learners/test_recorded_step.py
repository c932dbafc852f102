"""Steps on tensors that stay: rows of zeros count for nothing, and little is kept."""

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dm2_dist import networks
from dm2_dist.functional import adam
from dm2_dist.sections import ImpalaConfig, NetworkConfig, PPOConfig
from learners import impala, ppo_steps, recorded_step
from learners.optimiser import Networks, Optimiser
from learners.recorded_step import RecordedStep, room

SIZE, ACTIONS, HIDDEN, LENGTH = 9, 4, 8, 3
CONFIGS = {"ppo": PPOConfig(clip=0.2), "impala": ImpalaConfig()}
CLOSE = {"atol": 1e-6, "rtol": 1e-4}
_EPSILON = 1e-3
"""So large that a rounding error of a gradient near zero is not blown up to a whole step."""


def make_networks():
    config = NetworkConfig(hidden_size=HIDDEN, policy_head_gain=1.0)
    policy = networks.make_policy(SIZE, ACTIONS, config, 0, 0)
    critic = networks.make_critic(SIZE, config, 0, 0)
    policy_optimiser, critic_optimiser = (
        Optimiser(n, 5e-4, _EPSILON, 10.0) for n in (policy, critic)
    )
    return Networks(policy, policy_optimiser, critic, critic_optimiser)


def make_steps(algorithm, pads):
    """Networks, and the step of either of them."""
    trained = make_networks()
    if algorithm == "ppo":
        steps = ppo_steps.Steps(trained, CONFIGS["ppo"], pads)
    else:
        steps = impala.Steps(trained, CONFIGS["impala"], pads)
    return trained, {"policy": steps.policy, "critic": steps.critic}


def random_tensors(algorithm, network, chunks, seed):
    """What a step reads: random, with legal actions, on chunks of which some rows do not count."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    rows = LENGTH, chunks
    keep = (noise(*rows, 1) > -1.0).float()
    weight = (noise(*rows) > -0.5).float()
    seen = noise(chunks, HIDDEN), networks.standardise(noise(*rows, SIZE)), keep
    if network == "critic":
        aims = 1 if algorithm == "impala" else 2
        return (*seen, *(noise(*rows) for _ in range(aims)), weight)
    action = torch.randint(ACTIONS, rows, generator=generator)
    unavailable = noise(*rows, ACTIONS) > 0.5
    unavailable.scatter_(-1, action[..., None], value=False)
    log_prob = -noise(*rows).abs()
    aims = (log_prob, noise(*rows).exp(), noise(*rows))
    return (*seen, unavailable, action, *aims[:: 2 if algorithm == "impala" else 1], weight)


def everything(trained):
    return (*trained.policy_optimiser.changed(), *trained.critic_optimiser.changed())


@given(
    algorithm=st.sampled_from(["ppo", "impala"]),
    network=st.sampled_from(["policy", "critic"]),
    sizes=st.lists(st.integers(1, 70), min_size=1, max_size=3),
    by_operations=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_padded_steps_are_the_plain_ones(algorithm, network, sizes, by_operations, seed):
    with pytest.MonkeyPatch.context() as patch:
        if by_operations:  # as on a device with a memory of its own
            ours = networks.RecurrentNetwork
            patch.setattr(ours, "unroll", ours.unroll_by_operations)
            patch.setattr(adam, "update", adam.update_by_operations)
        plain, plainly = make_steps(algorithm, pads=False)
        padded, padding = make_steps(algorithm, pads=True)
        for turn, size in enumerate([*sizes, *sizes]):
            tensors = random_tensors(algorithm, network, size, seed + turn)
            plainly[network].load(tensors)
            padding[network].load(tensors)
            for _ in range(2):
                ours, theirs = padding[network].take(), plainly[network].take()
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)
                torch.testing.assert_close(everything(padded), everything(plain), **CLOSE)
                # From the same place again: a loss has kinks, on either side of which a rounding
                # error may put a row.
                torch._foreach_copy_(everything(padded), everything(plain))
    assert float(padded.policy_optimiser.changed()[3]) in {0.0, 4.0 * len(sizes)}


@given(st.integers(0, 1 << 20))
def test_room_is_little_more_than_needed(size):
    assert size <= room(size) <= max(1.125 * size + 1, size + 8)
    assert room(room(size)) == room(size)
    assert room(size) % 8 == 0


def test_there_are_few_rooms():
    assert len({room(size) for size in range(1, 1025)}) == 40


def total(tensors):
    """A step that adds what it reads to `changed`."""
    values, changed = tensors
    changed += values.sum()
    return torch.stack([values.sum(), changed[0]])


def test_what_was_loaded_is_read_as_it_was_then():
    step = RecordedStep(total, (0, None), (), pads=True)
    values, sum_ = torch.ones(5), torch.zeros(1)
    step.load((values, sum_))
    values.fill_(7.0)
    assert [step.take().tolist() for _ in range(2)] == [[5.0, 5.0], [5.0, 10.0]]
    assert sum_.item() == 0.0
    step.load((torch.ones(3), sum_))  # of the same room: what was in it is gone
    assert step.take().tolist() == [3.0, 3.0]
    assert step.recordings == 1


def test_only_so_many_shapes_are_kept_and_the_others_do_the_same(caplog):
    step = RecordedStep(total, (0, None), (), pads=True)
    sizes = [8 * number for number in range(1, 9)] + [room(1 << power) for power in range(7, 20)]
    assert len(sizes) > recorded_step.MOST_RECORDINGS
    with caplog.at_level(logging.WARNING):
        for size in sizes:
            step.load((torch.ones(size), torch.zeros(1)))
            assert step.take().tolist() == [size, size]
    assert step.recordings == recorded_step.MOST_RECORDINGS
    assert len(caplog.records) == 1
    step.load((torch.ones(sizes[0]), torch.zeros(1)))
    assert step.take().tolist() == [sizes[0], sizes[0]]


def test_on_the_cpu_inputs_are_read_where_they_are():
    step = RecordedStep(total, (0, None), (), pads=False)
    values, sum_ = torch.ones(5), torch.zeros(1)
    step.load((values, sum_))
    step.take()
    assert sum_.item() == 5.0
    assert step.recordings == 0
    step.unload()
    with pytest.raises(AssertionError, match="nothing is loaded"):
        step.take()


def test_a_rehearsal_changes_nothing():
    trained, steps = make_steps("ppo", pads=True)
    tensors = random_tensors("ppo", "policy", 11, 0)
    steps["policy"].load(tensors)
    steps["policy"].take()
    before = [tensor.clone() for tensor in everything(trained)]
    (recording,) = steps["policy"]._recordings.values()
    recording.rehearse(tensors, trained.policy_optimiser.changed())
    assert all(torch.equal(a, b) for a, b in zip(everything(trained), before, strict=True))
