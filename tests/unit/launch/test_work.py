"""What all actors have played: it never falls, whoever is killed."""

from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.comms import messages
from launch.status import Peer
from launch.work import Work


def peer(name: str, incarnation: int, env_steps: int) -> Peer:
    source = messages.Source(name=name, incarnation=incarnation)
    hello = messages.Hello(protocol=messages.PROTOCOL, source=source, role="actor", pid=1)
    beat = messages.ActorBeat(
        source=source, env_steps=env_steps, episodes=env_steps // 10, produced=0, unsettled=0,
        phases={},
    )  # fmt: skip
    return Peer(b"", hello, 0.0, beat=beat)


def test_a_replaced_actor_keeps_what_it_played() -> None:
    work = Work()
    work.note({"actor-0": peer("actor-0", 1, 100), "actor-1": peer("actor-1", 1, 50)})
    work.note({"actor-1": peer("actor-1", 1, 70)})
    assert (work.env_steps, work.episodes) == (170, 17)
    work.note({"actor-0": peer("actor-0", 2, 30), "actor-1": peer("actor-1", 1, 70)})
    assert (work.env_steps, work.episodes) == (200, 20)


_beats = st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 50))


@given(st.lists(_beats, max_size=30))
def test_the_total_is_what_was_played_and_never_falls(
    events: list[tuple[int, bool, int]],
) -> None:
    work, lives, played = Work(), [1, 1, 1], [0, 0, 0]
    expected = before = 0
    for actor, dies, steps in events:
        if dies:
            lives[actor], played[actor] = lives[actor] + 1, 0
        played[actor] += steps
        expected += steps
        name = f"actor-{actor}"
        work.note({name: peer(name, lives[actor], played[actor])})
        assert work.env_steps == expected >= before
        before = work.env_steps
