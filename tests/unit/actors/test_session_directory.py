"""An actor goes to the learners once it knows which run it belongs to."""

from actors.session import ActorSession
from dm2_dist.comms import messages


def test_a_directory_that_comes_before_the_welcome_waits(tmp_path, monkeypatch):
    source = messages.Source(name="actor-0", incarnation=1)
    session = ActorSession(f"ipc://{tmp_path}/head", source, tmp_path, 1, 1, "")
    listed = {0: (f"ipc://{tmp_path}/t", f"ipc://{tmp_path}/p")}
    monkeypatch.setattr(session._head, "learners", listed)
    session._connect()
    assert session._learners == {}
    welcome = messages.Welcome(run_id="r", head_incarnation=1, config_json="{}", learners={})
    session._from_head(welcome)
    session._connect()
    assert list(session._learners) == [0]
    session.leave(0.0)
