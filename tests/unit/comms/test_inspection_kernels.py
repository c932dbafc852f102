"""The compiled pass over a body says what the plain checks say, whatever the bytes are."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm2_dist import trajectory
from dm2_dist.comms import inspection_kernels, slice_body
from dm2_dist.comms.inspection import LOG_PROB_TOLERANCE, Expectation
from dm2_dist.comms.refusal import Reason, Refused
from dm2_dist.trajectory import SLICE_FIELDS

# --- the checks as array operations, one after the other: the reference ---

FLAGS = ("available_actions", "alive", "terminated", "truncated", "won")


def judge(data, expectation):
    """The reason why a slice must be refused, or None."""
    found = (reason for wrong, reason in CHECKS if wrong(data, expectation))
    with np.errstate(all="ignore"):
        return next(found, None)


def _not_finite(name):
    return lambda data, _: not np.isfinite(getattr(data, name)).all()


def _not_available(data, _):
    rows = trajectory.action_rows(data.length)
    return not data.available_actions[rows, data.action].all()


CHECKS = [
    (lambda data, _: data.length.min() < 1, Reason.SCHEMA),
    (lambda data, expected: data.length.max() > expected.episode_limit, Reason.SCHEMA),
    (lambda data, _: data.length.sum(dtype=np.int64) != data.env_steps, Reason.SCHEMA),
    (lambda data, _: any(getattr(data, name).max() > 1 for name in FLAGS), Reason.SCHEMA),
    (lambda data, _: not (data.terminated ^ data.truncated).all(), Reason.SCHEMA),
    (_not_finite("observation"), Reason.NONFINITE),
    (_not_finite("reward"), Reason.NONFINITE),
    (_not_finite("behaviour_log_prob"), Reason.NONFINITE),
    (lambda data, _: data.behaviour_log_prob.max() > LOG_PROB_TOLERANCE, Reason.SCHEMA),
    (lambda data, expected: data.action.max() >= expected.num_actions, Reason.ILLEGAL_ACTION),
    (_not_available, Reason.ILLEGAL_ACTION),
]

# --- tests ---

SPOILT = st.lists(
    st.tuples(
        st.sampled_from(SLICE_FIELDS),
        st.integers(0, 2**31),
        st.one_of(
            st.sampled_from([0, 1, 2, 3, 4, 5, 9, 40, 255, -1, np.nan, np.inf, -np.inf, 1e38]),
            st.sampled_from([LOG_PROB_TOLERANCE, 2 * LOG_PROB_TOLERANCE, -0.0, 1e-40]),
        ),
    ),
    max_size=3,
)


def spoil(array, at, value):
    """A copy with one value replaced by another, as the array's type holds it."""
    copy = array.copy()
    number = value if copy.dtype.kind == "f" or np.isfinite(value) else 7
    with np.errstate(all="ignore"):
        copy.reshape(-1)[at % copy.size] = np.array(number).astype(copy.dtype)
    return copy


def refusal(header, body, expectation):
    try:
        slice_body.decode_slice(header, body, expectation)
    except Refused as refused:
        return refused.reason
    return None


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), SPOILT)
def test_it_says_what_the_plain_checks_say(make_slice, make_message, lengths, spoilt):
    data = make_slice(tuple(lengths))
    for name, at, value in spoilt:
        data = make_slice(
            tuple(lengths),
            **{
                each: spoil(getattr(data, each), at, value) if each == name else getattr(data, each)
                for each in SLICE_FIELDS
            },
        )
    expectation = Expectation(5, 4, 40, len(lengths))
    header, body = make_message(data)
    assert refusal(header, body, expectation) is judge(data, expectation)


def test_every_value_is_looked_at(make_slice, make_message):
    """No element is left out: each, spoilt alone, is found."""
    expectation = Expectation(5, 4, 9, 2)
    wrong = {"observation": np.inf, "reward": np.nan, "behaviour_log_prob": -np.inf, "length": 10}
    for name in SLICE_FIELDS:
        for at in range(getattr(make_slice(), name).size):
            data = make_slice(**{name: spoil(getattr(make_slice(), name), at, wrong.get(name, 9))})
            assert refusal(*make_message(data), expectation) is not None, (name, at)


def test_there_is_a_sentence_for_every_finding():
    assert len(inspection_kernels.FINDINGS) == 14
    flags = inspection_kernels.FINDINGS[2:7]
    assert [text.split()[0] for _, text in flags] == list(inspection_kernels.FLAGS)
