import errno

import msgspec
import pytest
import zmq

from dm2_dist.comms import messages, security
from dm2_dist.comms.security import AddressError, ForbiddenError


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:0",
        "tcp://127.8.8.8:5555",
        "tcp://localhost:1",
        "tcp://lo:1",
        "tcp://[::1]:5",
    ],
)
def test_loopback_may_be_bound(address):
    security.check_bind(address)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://10.0.0.1:1",
        "tcp://eth0:1",
        "tcp://[::]:5",
        "tcp://head:5",
    ],
)
def test_whatever_others_can_reach_may_not(address):
    with pytest.raises(AddressError, match="use ipc://PATH or tcp://127"):
        security.check_bind(address)
    security.check_connect(address)


@pytest.mark.parametrize(
    "address",
    ["", "head:5555", "udp://127.0.0.1:5", "inproc://x", "tcp://127.0.0.1", "tcp://:5",
     "tcp://127.0.0.1:x", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:-1", "tcp://127.0.0.1:²", "ipc://"],
)  # fmt: skip
def test_malformed_addresses(address):
    with pytest.raises(AddressError):
        security.check_bind(address)
    with pytest.raises(AddressError):
        security.check_connect(address)


def test_ipc_paths(tmp_path):
    security.check_bind(f"ipc://{tmp_path}/a.sock")
    with pytest.raises(AddressError, match="does not exist; create it"):
        security.check_bind(f"ipc://{tmp_path}/missing/a.sock")
    for check in (security.check_bind, security.check_connect):
        with pytest.raises(AddressError, match="108 bytes and Unix sockets allow 107"):
            check("ipc:///" + "é" * 53 + "x")


def test_with_keys_others_may_reach_us_and_without_we_do_not_speak_to_others():
    for address in ("tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://10.0.0.1:1", "tcp://head:5"):
        security.check_bind(address, encrypted=True)
        security.check_remote(address, encrypted=True)
        with pytest.raises(AddressError, match="pass --keys DIR"):
            security.check_bind(address)
        with pytest.raises(AddressError, match="pass --keys DIR"):
            security.check_remote(address, encrypted=False)
    security.check_remote("tcp://127.0.0.1:5", encrypted=False)


# --- what each role may say ---


def source(name):
    return messages.Source(name=name, incarnation=1)


def said_by(name):
    """One message of every kind that goes to a listening process, sent by `name`."""
    who = source(name)
    agent = int(name.rpartition("-")[2])
    said = [
        messages.Hello(protocol=1, source=who, role=name.partition("-")[0], pid=1),
        messages.LearnerBeat(
            source=who, agent=agent, version=0, env_steps={}, received={}, received_env_steps={},
            trained=0, dropped={}, metrics={}, phases={}, parameters_sha256="",
        ),
        messages.ActorBeat(
            source=who, env_steps=0, episodes=0, produced=0, unsettled=0, phases={}
        ),
        messages.Want(source=who),
        messages.Returned(source=who, ticket_id="train/0/0"),
        messages.Result(source=who, ticket_id="evaluate/0/0", returns=(), lengths=(), won=()),
        messages.Bye(source=who),
        messages.Exited(name=name, incarnation=1, exit_code=0),
        messages.Command(name="status"),
        messages.Open(protocol=1, source=who, run_id="r"),
        messages.Trajectory(
            source=who, learner_incarnation=1, run_id="r", agent=0, sequence=0, iteration=0,
            index=0, versions=(), tensors=(), digest="",
        ),
        messages.Get(source=who, version=0),
    ]  # fmt: skip
    return {message.kind: message for message in said}


ENTITLED = {
    "actor": {"hello", "actor_beat", "want", "returned", "result", "bye", "open", "trajectory",
              "get"},
    "learner": {"hello", "learner_beat", "bye"},
    "launcher": {"command", "exited"},
    "head": set(),
    "nobody": set(),
}  # fmt: skip


@pytest.mark.parametrize("role", ENTITLED)
def test_every_kind_of_message_belongs_to_the_roles_that_may_say_it(role):
    for kind, message in said_by(f"{role}-0").items():
        if kind in ENTITLED[role]:
            security.check_role(role, message)
        else:
            with pytest.raises(ForbiddenError, match="does not entitle"):
                security.check_role(role, message)


def test_whatever_the_head_says_nobody_may_say_to_a_listener():
    answers = [
        messages.Welcome(run_id="r", head_incarnation=1, config_json="", learners={}),
        messages.Directory(learners={}),
        messages.Orders(head_incarnation=1, keep_from=0, phase="stop"),
        messages.Parameters(agent=0, version=1, digest=""),
        messages.Settle(learner_incarnation=1, outcomes=()),
    ]
    for role in ENTITLED:
        for message in answers:
            with pytest.raises(ForbiddenError):
                security.check_role(role, message)


@pytest.mark.parametrize(("role", "other"), [("actor", "learner"), ("learner", "actor")])
def test_a_key_cannot_take_another_roles_name_or_place(role, other):
    for kind in ENTITLED[role]:
        with pytest.raises(ForbiddenError, match="does not entitle"):
            security.check_role(role, said_by(f"{other}-0")[kind])
    posing = messages.Hello(protocol=1, source=source(f"{role}-0"), role=other, pid=1)
    with pytest.raises(ForbiddenError, match=f"the role '{other}'"):
        security.check_role(role, posing)


def test_a_learner_speaks_for_its_own_agent():
    beat = said_by("learner-1")["learner_beat"]
    security.check_role("learner", beat)
    with pytest.raises(ForbiddenError, match="learner-1 does not speak for agent 0"):
        security.check_role("learner", msgspec.structs.replace(beat, agent=0))


def test_where_nothing_is_authenticated_nothing_is_refused():
    for message in said_by("actor-0").values():
        security.check_role(None, message)


# --- why a connection does not come about ---


def test_a_greeting_that_was_merely_broken_off_is_no_news():
    assert (
        security.explain_handshake(
            "tcp://h:1", zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, 32, encrypted=True
        )
        == ""
    )
    for encrypted, mend in ((True, "copy allowed.json"), (False, "check host and port")):
        sentence = security.explain_silence("tcp://h:1", encrypted=encrypted)
        assert sentence.startswith("tcp://h:1 breaks off every greeting")
        assert mend in sentence


def test_refusals_of_the_system_are_explained():
    assert "choose another port" in str(security.explain("tcp://lo:1", errno.EADDRINUSE))
    assert "does not have" in str(security.explain("tcp://127.0.0.1:1", errno.ENODEV))
    assert "port above 1023" in str(security.explain("tcp://127.0.0.1:1", errno.EACCES))
    assert "tcp://lo:1 cannot be used" in str(security.explain("tcp://lo:1", errno.EIO))
