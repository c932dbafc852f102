"""An actor neither plays nor asks for more than its books have room for."""

import pytest

from actors.session import ActorSession, Leaving
from dm2_dist.comms import messages
from dm2_dist.ticket import Ticket

TICKETS = [Ticket("train", 0, index, (1,), (0,), greedy=False) for index in range(2)]


@pytest.fixture
def session(tmp_path):
    source = messages.Source(name="actor-0", incarnation=1)
    session = ActorSession(f"ipc://{tmp_path}/head", source, tmp_path, 1, 1, "")
    yield session
    session.leave(0.0)


def test_a_ticket_in_hand_waits_for_room_in_the_books(session, monkeypatch):
    session._leases.extend(TICKETS)
    assert session.next_ticket() is TICKETS[0]
    session.book.produce(0, None)
    waits = []

    def settle_at_the_third(_seconds):
        waits.append(session.book.is_full)
        if len(waits) == 3:
            session.book.on_credit(0, 1, 8, opens=True)
            session.book.on_settle(0, 1, [(0, "trained")])
        assert len(waits) < 9, "the room was not seen"

    monkeypatch.setattr(session, "pump", settle_at_the_third)
    assert session.next_ticket() is TICKETS[1]
    assert waits == [True] * 3


def test_the_next_ticket_is_not_asked_for_before_there_is_room(session, monkeypatch):
    sent = []
    monkeypatch.setattr(session._head, "welcome", object())
    monkeypatch.setattr(session._head, "send", lambda message: sent.append(message) or True)
    session.want(in_hand=1)
    assert sent == []
    session.want(in_hand=0)
    session.want(in_hand=0)
    assert [message.kind for message in sent] == ["want"]
    monkeypatch.undo()
    session.ask_to_leave()
    with pytest.raises(Leaving):
        session.next_ticket()
