import pytest

from dm2_dist.comms.ledger import (
    ACTOR_DIED,
    ENV_RESTART,
    ROLLED_BACK,
    ActorBook,
    Counters,
    LearnerBook,
    Settlement,
    Verdict,
    close,
)
from dm2_dist.comms.messages import Source
from dm2_dist.comms.refusal import Reason

A = Source(name="actor-0", incarnation=1)
B = Source(name="actor-1", incarnation=1)


def opened_book(window=2, capacity=4):
    book: ActorBook[str] = ActorBook(num_agents=2, capacity=capacity)
    for agent in range(2):
        book.on_credit(agent, 10, window, opens=True)
    return book


def send_all(book, agent):
    sent = []
    while (waiting := book.to_send(agent)) is not None:
        book.sent(agent, waiting[0])
        sent.append(waiting[0])
    return sent


# --- the actor's side ---


def test_sequences_count_per_agent():
    book = opened_book()
    assert [book.produce(0, "a"), book.produce(0, "b"), book.produce(1, "c")] == [0, 1, 0]


def test_nothing_is_sent_before_the_learner_speaks():
    book: ActorBook[str] = ActorBook(num_agents=1, capacity=2)
    book.produce(0, "a")
    assert book.to_send(0) is None
    assert book.incarnation(0) == -1
    book.on_credit(0, 7, 1, opens=True)
    assert book.to_send(0) == (0, "a")
    assert book.incarnation(0) == 7


def test_credits_bound_what_is_sent():
    book = opened_book(window=2)
    for payload in "abc":
        book.produce(0, payload)
    assert send_all(book, 0) == [0, 1]
    assert book.to_send(0) is None
    book.on_credit(0, 10, 1)
    assert send_all(book, 0) == [2]


def test_what_the_socket_did_not_take_is_offered_again():
    book = opened_book()
    book.produce(0, "a")
    assert book.to_send(0) == book.to_send(0) == (0, "a")


def test_settled_payloads_are_forgotten_and_counted():
    book = opened_book()
    for payload in "ab":
        book.produce(0, payload)
    send_all(book, 0)
    news = book.on_settle(0, 10, [(1, "duplicate"), (0, "trained"), (0, "trained"), (9, "trained")])
    assert news == [("b", "duplicate"), ("a", "trained")]
    assert book.account(0) == (2, 1, {"duplicate": 1}, 0)
    assert book.account(0).imbalance == 0
    assert book.unsettled == 0


def test_a_new_learner_gets_everything_unsettled_in_order():
    book = opened_book(window=4)
    for payload in "abc":
        book.produce(0, payload)
    send_all(book, 0)
    book.on_settle(0, 10, [(1, "trained")])
    book.on_credit(0, 11, 4)
    assert send_all(book, 0) == [0, 2]


def test_a_replaced_learner_is_not_listened_to():
    book = opened_book()
    book.on_credit(0, 11, 1, opens=True)
    book.produce(0, "a")
    book.on_credit(0, 10, 5, opens=True)
    assert book.incarnation(0) == 11
    assert book.on_settle(0, 10, [(0, "trained")]) == []
    assert book.account(0).unsettled == 1


def test_a_broken_connection_starts_the_conversation_anew():
    book = opened_book(window=2)
    for payload in "abc":
        book.produce(0, payload)
    send_all(book, 0)
    book.on_open(0)
    book.on_credit(0, 10, 1)
    assert book.to_send(0) is None, "granted for a message of the old connection"
    book.on_credit(0, 10, 2, opens=True)
    assert send_all(book, 0) == [0, 1]


def test_settled_while_waiting_to_be_resent():
    book = opened_book(window=4)
    for payload in "ab":
        book.produce(0, payload)
    book.on_credit(0, 10, 4, opens=True)
    book.on_settle(0, 10, [(0, "trained")])
    assert send_all(book, 0) == [1]


def test_memory_is_bounded():
    book = opened_book(capacity=2)
    book.produce(1, "z")
    assert (book.room, book.is_full) == (1, False)
    book.produce(1, "a")
    assert (book.room, book.is_full) == (0, True)
    with pytest.raises(AssertionError):
        book.produce(1, "b")


# --- the learner's side ---


def test_an_iteration_is_trained_once_and_settled_in_ticket_order():
    book = LearnerBook()
    assert book.receive(A, 0, 0, 1) is Verdict.ACCEPT
    assert book.receive(B, 0, 0, 0) is Verdict.ACCEPT
    assert book.receive(A, 1, 1, 0) is Verdict.ACCEPT
    assert book.buffered() == {0: (0, 1), 1: (0,)}
    assert book.commit(0) == [Settlement(B, 0, "trained"), Settlement(A, 0, "trained")]
    assert book.version == 1
    assert book.buffered() == {1: (0,)}
    assert book.receive(A, 0, 0, 1) is Verdict.SETTLED
    assert book.outcome(A, 0) == "trained"
    assert book.account() == (3, 2, {}, 1)


def test_the_same_copy_twice_is_resent():
    book = LearnerBook()
    book.receive(A, 0, 0, 0)
    assert book.receive(A, 0, 0, 0) is Verdict.RESENT
    assert book.account().received == 1


def test_the_same_ticket_from_elsewhere_is_a_duplicate():
    book = LearnerBook()
    book.receive(A, 0, 0, 0)
    assert book.receive(B, 0, 0, 0) is Verdict.DROP
    assert book.receive(B, 0, 0, 0) is Verdict.RESENT
    assert Settlement(B, 0, "duplicate") in book.commit(0)
    assert book.receive(B, 0, 0, 0) is Verdict.SETTLED
    assert book.outcome(B, 0) == "duplicate"
    assert book.receive(B, 1, 0, 0) is Verdict.DROP
    assert book.commit_drops() == [Settlement(B, 1, "duplicate")]


def test_a_new_incarnation_is_somebody_else():
    book = LearnerBook()
    book.receive(A, 0, 0, 0)
    again = Source(name=A.name, incarnation=A.incarnation + 1)
    assert book.receive(again, 0, 0, 1) is Verdict.ACCEPT


@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if reason not in (Reason.DUPLICATE, Reason.SHUTDOWN)]
)
def test_a_refused_trajectory_is_booked_and_its_ticket_open_again(reason):
    book = LearnerBook()
    book.receive(A, 0, 0, 0)
    assert book.drop(A, 0, reason) is Verdict.DROP
    assert book.drop(A, 0, reason) is Verdict.RESENT
    assert book.drop(A, 1, reason) is Verdict.DROP
    assert book.account() == (2, 0, {reason: 2}, 0)
    assert book.receive(B, 0, 0, 0) is Verdict.ACCEPT
    assert book.commit_drops() == [Settlement(A, 0, reason), Settlement(A, 1, reason)]
    assert book.drop(A, 0, reason) is Verdict.SETTLED
    assert book.account().imbalance == 0


def test_a_drain_drops_what_is_in_hand_and_what_comes():
    book = LearnerBook()
    book.receive(A, 0, 0, 0)
    book.drop_all(Reason.SHUTDOWN)
    book.drop_all(Reason.SHUTDOWN)
    assert book.receive(A, 1, 0, 1) is Verdict.DROP
    assert book.commit_drops() == [Settlement(A, 0, "shutdown"), Settlement(A, 1, "shutdown")]
    again = LearnerBook.from_json(book.to_json())
    assert again.receive(B, 0, 0, 0) is Verdict.ACCEPT


def test_a_restarted_learner_knows_what_it_committed_and_nothing_else():
    book = LearnerBook()
    book.receive(A, 1, 0, 0)
    book.drop(A, 5, Reason.CORRUPT)
    book.commit(0)
    saved = book.to_json()
    book.receive(A, 2, 1, 0)
    book.drop(A, 3, Reason.CORRUPT)
    again = LearnerBook.from_json(saved)
    assert again.version == 1
    assert again.account() == (2, 1, {"corrupt": 1}, 0)
    assert [again.receive(A, n, 1, 0) for n in (1, 5, 2, 3)] == [
        Verdict.SETTLED,
        Verdict.SETTLED,
        Verdict.ACCEPT,
        Verdict.DROP,
    ]
    assert (again.outcome(A, 1), again.outcome(A, 5)) == ("trained", "corrupt")
    assert LearnerBook.from_json(saved).to_json() == saved


def test_settled_marks_stay_compact():
    book = LearnerBook()
    for n in range(1000):
        book.receive(A, n, n, 0)
        book.commit(n)
    assert len(book.to_json()) < 200


def test_iterations_are_trained_in_order():
    with pytest.raises(AssertionError):
        LearnerBook().commit(1)


# --- the run ---


def trained_book(source, count, dropped=0):
    book = LearnerBook()
    for n in range(count):
        book.receive(source, n, 0, n)
    for n in range(count, count + dropped):
        book.drop(source, n, Reason.STALE)
    book.commit(0)
    return book


def counters(source, *produced, closed=True):
    return Counters(source, produced, (0,) * len(produced), closed)


def test_a_clean_run_closes():
    totals = close([counters(A, 3, 2)], {0: trained_book(A, 2, dropped=1), 1: trained_book(A, 2)})
    assert (totals.produced, totals.trained, totals.dropped) == (5, 4, {"stale": 1})
    assert (totals.lost, totals.error) == ({}, 0)


def test_a_killed_actor_explains_what_is_missing():
    totals = close([counters(A, 5, closed=False)], {0: trained_book(A, 2)})
    assert (totals.lost, totals.error) == ({ACTOR_DIED: 3}, 0)


def test_what_lost_games_cut_off_is_produced_and_dropped_by_the_actor():
    entry = counters(A, 3, 2)._replace(cut_off=4)
    totals = close([entry], {0: trained_book(A, 2, dropped=1), 1: trained_book(A, 2)})
    assert (totals.produced, totals.trained, totals.error) == (9, 4, 0)
    assert totals.dropped == {"stale": 1, ENV_RESTART: 4}


def test_nothing_explains_what_a_clean_actor_misses():
    assert close([counters(A, 5)], {0: trained_book(A, 2)}).error == 3
    assert close([counters(A, 5)], {}).error == 5


def test_a_surplus_is_an_error_whoever_died():
    assert close([counters(A, 1, closed=False)], {0: trained_book(A, 2)}).error == 1
    assert close([], {0: trained_book(A, 2)}).error == 2


def test_errors_do_not_cancel():
    books = {0: trained_book(A, 2), 1: trained_book(A, 2)}
    assert close([counters(A, 1, 3)], books).error == 2


def test_a_lost_checkpoint_explains_what_was_settled_with_it():
    book = trained_book(A, 2)
    book.note_rollback()
    restored = LearnerBook.from_json(book.to_json())
    totals = close([counters(A, 5)], {0: restored})
    assert (totals.lost, totals.error) == ({ROLLED_BACK: 3}, 0)


def test_what_is_only_in_hand_is_not_accounted_for():
    book = LearnerBook()
    book.receive(A, 0, 0, 0)
    book.drop(A, 1, Reason.CORRUPT)
    assert close([counters(A, 2)], {0: book}).error == 2
