import numpy as np
import pytest

from dm2_dist.comms import inspection, slice_body
from dm2_dist.comms.refusal import Reason, Refused


def changed(array, index, value):
    copy = array.copy()
    copy[index] = value
    return copy


@pytest.mark.parametrize(
    ("name", "index", "value", "reason"),
    [
        ("observation", (0, 0), np.nan, Reason.NONFINITE),
        ("observation", (9, 4), np.inf, Reason.NONFINITE),
        ("reward", 3, -np.inf, Reason.NONFINITE),
        ("behaviour_log_prob", 3, np.nan, Reason.NONFINITE),
        ("behaviour_log_prob", 3, -np.inf, Reason.NONFINITE),
        ("behaviour_log_prob", 3, 0.01, Reason.SCHEMA),
        ("action", 0, 4, Reason.ILLEGAL_ACTION),
        ("action", 7, 255, Reason.ILLEGAL_ACTION),
        ("available_actions", slice(None), 0, Reason.ILLEGAL_ACTION),
        ("available_actions", (0, 0), 2, Reason.SCHEMA),
        ("alive", 0, 2, Reason.SCHEMA),
        ("won", 1, 7, Reason.SCHEMA),
        ("terminated", 0, 0, Reason.SCHEMA),
        ("terminated", 1, 1, Reason.SCHEMA),
        ("truncated", 1, 2, Reason.SCHEMA),
        ("length", 0, 0, Reason.SCHEMA),
        ("length", 0, -1, Reason.SCHEMA),
        ("length", 0, 10, Reason.SCHEMA),
        ("length", 0, 4, Reason.SCHEMA),
        ("length", slice(None), 2**31 - 1, Reason.SCHEMA),
    ],
)
def test_senseless_values_are_refused(
    make_slice, make_message, expectation, name, index, value, reason
):
    array = changed(getattr(make_slice(), name), index, value)
    header, body = make_message(make_slice(**{name: array}))
    with pytest.raises(Refused) as caught:
        slice_body.decode_slice(header, body, expectation)
    assert caught.value.reason is reason


def test_the_action_is_judged_at_its_own_row(make_slice, make_message, expectation):
    data = make_slice()
    available = np.zeros_like(data.available_actions)
    rows = np.array([0, 1, 2, 4, 5, 6, 7, 8])
    available[rows, data.action] = 1
    header, body = make_message(make_slice(available_actions=available))
    slice_body.decode_slice(header, body, expectation)
    header, body = make_message(make_slice(available_actions=np.roll(available, 1, axis=0)))
    with pytest.raises(Refused, match="not available"):
        slice_body.decode_slice(header, body, expectation)


def test_rounding_above_zero_is_tolerated(make_slice, make_message, expectation):
    log_prob = changed(make_slice().behaviour_log_prob, 0, 1e-7)
    header, body = make_message(make_slice(behaviour_log_prob=log_prob))
    slice_body.decode_slice(header, body, expectation)


@pytest.mark.parametrize(
    ("run_id", "agent", "num_agents", "versions", "reason"),
    [
        ("other", 1, 3, range(3, 4), Reason.UNKNOWN_RUN),
        ("run", 0, 3, range(3, 4), Reason.SCHEMA),
        ("run", 1, 2, range(3, 4), Reason.SCHEMA),
        ("run", 1, 3, range(4, 7), Reason.STALE),
        ("run", 1, 3, range(3), Reason.STALE),
    ],
)
def test_misdirected_trajectories_are_refused(
    make_slice, make_message, run_id, agent, num_agents, versions, reason
):
    header, _ = make_message(make_slice())
    with pytest.raises(Refused) as caught:
        inspection.check_header(header, run_id, agent, num_agents, versions)
    assert caught.value.reason is reason
    inspection.check_header(header, "run", 1, 3, range(2, 4))


def test_there_is_room_for_the_horizon_only(make_slice, make_message):
    header, _ = make_message(make_slice())
    inspection.check_place(header, oldest=4, horizon=0, tickets=4)
    inspection.check_place(header, oldest=3, horizon=1, tickets=4)
    with pytest.raises(Refused) as caught:
        inspection.check_place(header, oldest=2, horizon=1, tickets=4)
    assert caught.value.reason is Reason.BUFFER_FULL
    with pytest.raises(Refused) as caught:
        inspection.check_place(header, oldest=4, horizon=0, tickets=3)
    assert caught.value.reason is Reason.SCHEMA


def test_details_are_of_bounded_length(make_slice, make_message):
    header, _ = make_message(make_slice(), run_id="x" * 3000)
    with pytest.raises(Refused) as caught:
        inspection.check_header(header, "run", 1, 3, range(3, 4))
    assert len(str(caught.value)) < 300
