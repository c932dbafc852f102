import select
import threading

from dm2_dist.comms.mailbox import Mailbox


def is_ready(mailbox):
    return bool(select.select(mailbox.handles(), [], [], 0)[0])


def test_items_come_in_order_and_wake_the_poll():
    mailbox: Mailbox[int] = Mailbox(capacity=3)
    assert not is_ready(mailbox)
    assert [mailbox.post(item) for item in range(4)] == [True, True, True, False]
    assert is_ready(mailbox)
    assert mailbox.take() == [0, 1, 2]
    assert not is_ready(mailbox)
    assert mailbox.take() == []
    assert mailbox.post(5)
    assert is_ready(mailbox)
    mailbox.close()


def test_a_closed_mailbox_takes_nothing():
    mailbox: Mailbox[int] = Mailbox(capacity=3)
    mailbox.close()
    mailbox.close()
    assert not mailbox.post(1)


def test_nothing_is_lost_between_threads():
    mailbox: Mailbox[tuple[int, int]] = Mailbox(capacity=100)

    def post(sender):
        for number in range(2000):
            while not mailbox.post((sender, number)):
                pass

    senders = [threading.Thread(target=post, args=(sender,)) for sender in range(3)]
    for sender in senders:
        sender.start()
    received = []
    while len(received) < 6000:
        assert select.select(mailbox.handles(), [], [], 10)[0], "not woken"
        received += mailbox.take()
    for sender in senders:
        sender.join()
    mailbox.close()
    assert all([n for s, n in received if s == k] == list(range(2000)) for k in range(3))
