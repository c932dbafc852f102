"""Lags: iteration minus version, own and peers' apart."""

from learners.lag import Lag, Lags


def test_own_and_peers_lags_are_told_apart():
    lags = Lags(agent=1)
    lags.note(7, 0, (7, 5, 6))
    lags.note(7, 1, (3, 7, 8))
    lags.note(8, 0, (8, 8, 8))
    lag = lags.take(7)
    assert sorted(lag.own) == [0, 2]
    assert sorted(lag.peers) == [0, 0, 1, 4]  # a peer that is ahead does not lag
    assert lag.metrics() == {
        "lag_mean": 1.0,
        "lag_max": 2.0,
        "peer_lag_mean": 1.25,
        "peer_lag_max": 4.0,
    }
    assert lags.take(7) == Lag((), ())
    assert lags.take(8).own == (0,)


def test_a_ticket_that_came_again_counts_once():
    lags = Lags(agent=0)
    lags.note(2, 0, (1,))
    lags.note(2, 0, (2,))
    assert lags.take(2) == Lag((0,), ())
    assert Lag((3,), ()).metrics() == {"lag_mean": 3.0, "lag_max": 3.0}
