"""Pieces of episodes on the wire: what travels with them, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from dm2_dist.comms import slice_body
from dm2_dist.comms.inspection import Expectation
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.trajectory import ENTERING_FIELDS, Entering, arrays_of, slice_of

HIDDEN, UNROLL = 3, 6
# Two battles of six rows: (goes on, ends), (begins, cut); (goes on, cut).
LENGTHS = (2, 4, 6)
EXPECTATION = Expectation(
    observation_size=5,
    num_actions=4,
    episode_limit=9,
    num_episodes=2,
    unroll_length=UNROLL,
    hidden_size=HIDDEN,
)


@pytest.fixture
def pieces(make_slice):
    generator = np.random.default_rng(1)
    core_state = generator.uniform(-1, 1, (3, 2, HIDDEN)).astype(np.float32)
    core_state[1] = 0.0
    return make_slice(
        LENGTHS,
        terminated=np.array([1, 0, 0], np.uint8),
        truncated=np.zeros(3, np.uint8),
        won=np.array([1, 0, 0], np.uint8),
        entering=Entering(
            steps_before=np.array([7, 0, 2], np.int32),
            return_before=np.array([1.5, 0.0, -2.0], np.float32),
            previous_action=np.array([3, -1, 0], np.int16),
            core_state=core_state,
        ),
    )


def changed(data, name, index, value):
    arrays = {key: array.copy() for key, array in arrays_of(data).items()}
    arrays[name][index] = value
    return slice_of(arrays)


def decoded(make_message, data, expectation=EXPECTATION):
    return slice_body.decode_slice(*make_message(data), expectation)


def refusal(make_message, data, expectation=EXPECTATION):
    with pytest.raises(Refused) as caught:
        decoded(make_message, data, expectation)
    return caught.value.reason


def test_round_trip_is_exact_and_copies_nothing(pieces, make_message):
    originals = arrays_of(pieces)
    arrays = arrays_of(decoded(make_message, pieces))
    assert tuple(arrays) == tuple(originals)
    assert tuple(arrays)[-len(ENTERING_FIELDS) :] == ENTERING_FIELDS
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, originals[name])
        assert array.dtype == originals[name].dtype
        assert not array.flags.writeable
        assert not array.flags.owndata


def test_the_number_of_pieces_is_free_between_its_bounds(make_slice, make_message, pieces):
    entering = Entering(
        steps_before=np.array([0, 0], np.int32),
        return_before=np.zeros(2, np.float32),
        previous_action=np.full(2, -1, np.int16),
        core_state=np.zeros((2, 2, HIDDEN), np.float32),
    )
    nothing = np.zeros(2, np.uint8)
    fewest = make_slice(
        (6, 6), terminated=nothing, truncated=nothing, won=nothing, entering=entering
    )
    assert decoded(make_message, fewest).num_episodes == 2
    ones = np.ones(12, np.uint8)
    most = make_slice(
        (1,) * 12,
        terminated=ones,
        truncated=0 * ones,
        won=ones,
        entering=Entering(
            steps_before=np.zeros(12, np.int32),
            return_before=np.zeros(12, np.float32),
            previous_action=np.full(12, -1, np.int16),
            core_state=np.zeros((12, 2, HIDDEN), np.float32),
        ),
    )
    assert decoded(make_message, most).num_started == 12


def test_whole_episodes_and_pieces_are_not_taken_for_one_another(
    make_slice, make_message, pieces, expectation
):
    assert refusal(make_message, pieces, expectation) is Reason.SCHEMA
    assert refusal(make_message, make_slice()) is Reason.SCHEMA
    assert refusal(make_message, make_slice((6, 6))) is Reason.SCHEMA


@pytest.mark.parametrize(
    "expectation",
    [
        replace(EXPECTATION, num_episodes=1),
        replace(EXPECTATION, num_episodes=4, unroll_length=3),
        replace(EXPECTATION, unroll_length=7),
        replace(EXPECTATION, hidden_size=4),
    ],
)
def test_other_sizes_are_refused(make_message, pieces, expectation):
    assert refusal(make_message, pieces, expectation) is Reason.SCHEMA


@pytest.mark.parametrize(
    ("name", "index", "value", "reason"),
    [
        ("observation", (0, 0), np.nan, Reason.NONFINITE),
        ("return_before", 0, np.nan, Reason.NONFINITE),
        ("return_before", 1, np.inf, Reason.NONFINITE),
        ("core_state", (2, 1, 0), np.nan, Reason.NONFINITE),
        ("core_state", (1, 0, 0), -np.inf, Reason.NONFINITE),
        ("core_state", (2, 1, 0), 1.1, Reason.SCHEMA),
        ("core_state", (0, 0, 0), -1.1, Reason.SCHEMA),
        ("core_state", (1, 0, 0), 0.5, Reason.SCHEMA),
        ("return_before", 1, 0.5, Reason.SCHEMA),
        ("previous_action", 1, 0, Reason.SCHEMA),
        ("previous_action", 0, -1, Reason.SCHEMA),
        ("previous_action", 0, 4, Reason.SCHEMA),
        ("previous_action", 2, -2, Reason.SCHEMA),
        ("steps_before", 1, 1, Reason.SCHEMA),
        ("steps_before", 0, 0, Reason.SCHEMA),
        ("steps_before", 0, -1, Reason.SCHEMA),
        ("steps_before", 0, 8, Reason.SCHEMA),
        ("steps_before", 2, 3, Reason.SCHEMA),
        ("steps_before", 0, 2**31 - 1, Reason.SCHEMA),
        ("terminated", 0, 0, Reason.SCHEMA),
        ("truncated", 0, 1, Reason.SCHEMA),
        ("terminated", 1, 2, Reason.SCHEMA),
        ("won", 1, 1, Reason.SCHEMA),
        ("won", 2, 1, Reason.SCHEMA),
        ("length", slice(None), (3, 4, 5), Reason.SCHEMA),
        ("length", slice(None), (2, 5, 5), Reason.SCHEMA),
        ("length", slice(None), (6, 4, 2), Reason.SCHEMA),
        ("length", slice(None), (6, 6, 0), Reason.SCHEMA),
        ("length", 2, 5, Reason.SCHEMA),
        ("action", 0, 4, Reason.ILLEGAL_ACTION),
    ],
)
def test_senseless_pieces_are_refused(make_message, pieces, name, index, value, reason):
    assert refusal(make_message, changed(pieces, name, index, value)) is reason


def test_a_piece_that_goes_on_must_be_the_first_of_its_battle(make_message, pieces):
    data = changed(pieces, "steps_before", 1, 2)
    data = changed(changed(data, "previous_action", 1, 2), "core_state", 1, 0.25)
    assert refusal(make_message, data) is Reason.SCHEMA


def test_only_the_end_of_an_unroll_cuts_an_episode(make_message, pieces):
    data = changed(changed(pieces, "won", 0, 0), "terminated", 0, 0)
    assert refusal(make_message, changed(data, "steps_before", 0, 1)) is Reason.SCHEMA


def test_a_piece_belongs_to_one_battle(make_message, pieces):
    """All pieces begin and end as they may, but one reaches from one battle into the next."""
    data = changed(changed(pieces, "terminated", 1, 1), "length", slice(None), (2, 6, 4))
    data = changed(changed(data, "steps_before", 2, 0), "previous_action", 2, -1)
    data = changed(changed(data, "return_before", 2, 0.0), "core_state", 2, 0.0)
    assert refusal(make_message, data) is Reason.SCHEMA
    whole = changed(data, "length", slice(None), (2, 4, 6))
    assert decoded(make_message, whole).num_started == 2


def test_the_time_limit_ends_a_battle_at_once(make_message, pieces):
    """Steps before a piece and in it reach the limit only where the episode ended."""
    data = changed(pieces, "steps_before", 2, 3)
    assert refusal(make_message, data) is Reason.SCHEMA
    arrays = changed(data, "truncated", 2, 1)
    assert decoded(make_message, arrays).ended.tolist() == [True, False, True]


@pytest.mark.parametrize("missing", ENTERING_FIELDS)
def test_every_array_of_the_past_must_be_there(make_message, pieces, missing):
    header, body = make_message(pieces)
    tensors = tuple(spec for spec in header.tensors if spec.name != missing)
    header, body = make_message(pieces, tensors=tensors)
    with pytest.raises(Refused) as caught:
        slice_body.decode_slice(header, body, EXPECTATION)
    assert caught.value.reason is Reason.SCHEMA


def test_rounding_of_a_core_state_is_tolerated(make_message, pieces):
    decoded(make_message, changed(pieces, "core_state", (0, 0, 0), 1.000001))
