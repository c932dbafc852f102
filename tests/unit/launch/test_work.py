"""What all actors have played: it never falls, whoever is killed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm2_dist.comms import messages
from launch.dispatcher import LeaseAccount
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


NO_LEASES = LeaseAccount(leased=0, fulfilled=0, reissued=0, open=0)


def test_a_replaced_actor_keeps_what_it_played(tmp_path: Path) -> None:
    work = Work(tmp_path / "work.json")
    work.note({"actor-0": peer("actor-0", 1, 100), "actor-1": peer("actor-1", 1, 50)}, NO_LEASES)
    work.note({"actor-1": peer("actor-1", 1, 70)}, NO_LEASES)
    assert (work.env_steps, work.episodes) == (170, 17)
    work.note({"actor-0": peer("actor-0", 2, 30), "actor-1": peer("actor-1", 1, 70)}, NO_LEASES)
    assert (work.env_steps, work.episodes) == (200, 20)


_beats = st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 50))


@given(st.lists(_beats, max_size=30))
def test_the_total_is_what_was_played_and_never_falls(
    events: list[tuple[int, bool, int]],
) -> None:
    work, lives, played = Work(Path("none")), [1, 1, 1], [0, 0, 0]
    expected = before = 0
    for actor, dies, steps in events:
        if dies:
            lives[actor], played[actor] = lives[actor] + 1, 0
        played[actor] += steps
        expected += steps
        name = f"actor-{actor}"
        work.note({name: peer(name, lives[actor], played[actor])}, NO_LEASES)
        assert work.env_steps == expected >= before
        before = work.env_steps


def test_a_new_head_goes_on_where_the_old_one_left_off(tmp_path: Path) -> None:
    before = Work(tmp_path / "work.json")
    leases = LeaseAccount(leased=9, fulfilled=5, reissued=2, open=2)
    before.note({"actor-0": peer("actor-0", 1, 100), "actor-1": peer("actor-1", 1, 50)}, leases)
    before.save()
    after = Work(tmp_path / "work.json")
    assert (after.env_steps, after.episodes) == (150, 15)
    after.note({"actor-1": peer("actor-1", 1, 70)}, LeaseAccount(1, 1, 0, 0))
    assert (after.env_steps, after.leases) == (170, {"fulfilled": 6, "reissued": 2})


def test_what_cannot_be_written_is_only_forgotten(tmp_path: Path) -> None:
    work = Work(tmp_path / "gone" / "work.json")
    work.note({"actor-0": peer("actor-0", 1, 10)}, NO_LEASES)
    work.save()
    assert work.env_steps == 10


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"actors": 1, "leases": {}}', '{"actors": [[1]], "leases": {}}']
)
def test_a_damaged_file_begins_anew(tmp_path: Path, text: str) -> None:
    file = tmp_path / "work.json"
    file.write_text(text)
    work = Work(file)
    assert (work.env_steps, work.leases) == (0, {"fulfilled": 0, "reissued": 0})
