import json
import os
import stat

import pytest
import zmq

from dm2_dist.comms import keys
from dm2_dist.comms.keys import LIST, KeysError, Role


@pytest.fixture
def folder(tmp_path):
    keys.init(tmp_path / "keys")
    return tmp_path / "keys"


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_every_role_gets_a_key_of_its_own_that_only_its_owner_can_read(folder):
    assert mode_of(folder) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == [
        "actor.key", LIST, "head.key", "launcher.key", "learner.key",
    ]  # fmt: skip
    assert {mode_of(path) for path in folder.iterdir()} == {0o600}
    loaded = {role: keys.load(folder, role) for role in Role}
    assert {own.role for own in loaded.values()} == set(Role)
    assert len({own.pair.public for own in loaded.values()}) == 4
    for own in loaded.values():
        assert zmq.curve_public(own.pair.secret) == own.pair.public
        assert own.server_key(Role.HEAD) == loaded[Role.HEAD].pair.public


def test_the_umask_opens_nothing(tmp_path):
    before = os.umask(0)
    try:
        keys.init(tmp_path / "keys")
        keys.rotate(tmp_path / "keys", Role.ACTOR)
    finally:
        os.umask(before)
    assert {mode_of(path) for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert mode_of(tmp_path / "keys") == 0o700


def test_nothing_is_overwritten(folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(KeysError, match="is not empty and keys are never overwritten"):
        keys.init(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(KeysError, match="cannot be written"):
        keys.init(folder / "actor.key" / "deeper")


def test_a_secret_is_not_shown_by_accident(folder):
    own = keys.load(folder, Role.ACTOR)
    assert own.pair.secret.decode() not in f"{own!r} {own} {own.pair!r}"
    assert own.pair.secret not in keys.fingerprint(own.pair.public).encode()


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o644, 0o777])
def test_a_key_that_others_can_read_or_change_is_refused(folder, mode):
    (folder / "actor.key").chmod(mode)
    with pytest.raises(KeysError, match=r"run `chmod 600 .*actor.key`"):
        keys.load(folder, Role.ACTOR)
    keys.load(folder, Role.HEAD)


def test_what_others_can_change_is_refused(folder):
    (folder / LIST).chmod(0o644)  # public keys may be read
    keys.load(folder, Role.ACTOR)
    (folder / LIST).chmod(0o666)
    with pytest.raises(KeysError, match=r"others may change .*allowed.json"):
        keys.load(folder, Role.ACTOR)
    (folder / LIST).chmod(0o600)
    folder.chmod(0o777)
    with pytest.raises(KeysError, match="run `chmod 700"):
        keys.load(folder, Role.ACTOR)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_another_user_is_refused(folder):
    os.chown(folder / "actor.key", 12345, 12345)
    with pytest.raises(KeysError, match="belongs to another user"):
        keys.load(folder, Role.ACTOR)


def test_missing_things_are_named(folder, tmp_path):
    with pytest.raises(KeysError, match=r"nowhere cannot be used.*dm2 keys init"):
        keys.load(tmp_path / "nowhere", Role.ACTOR)
    with pytest.raises(KeysError, match="name the folder, not a file"):
        keys.load(folder / "actor.key", Role.ACTOR)
    (folder / "actor.key").unlink()
    with pytest.raises(KeysError, match=r"actor.key cannot be read.*copy it"):
        keys.load(folder, Role.ACTOR)
    (folder / LIST).unlink()
    with pytest.raises(KeysError, match=r"allowed\.json cannot be read"):
        keys.load(folder, Role.HEAD)


def test_a_pipe_in_a_keys_place_does_not_hang(folder):
    (folder / "actor.key").unlink()
    os.mkfifo(folder / "actor.key", 0o600)
    with pytest.raises(KeysError, match="not a regular file"):
        keys.load(folder, Role.ACTOR)


def test_one_roles_key_is_not_anothers(folder):
    (folder / "learner.key").write_bytes((folder / "actor.key").read_bytes())
    with pytest.raises(KeysError, match="is a key for 'actor', not for the learner"):
        keys.load(folder, Role.LEARNER)
    document = json.loads((folder / "actor.key").read_text()) | {"role": "learner"}
    (folder / "learner.key").write_text(json.dumps(document))
    with pytest.raises(KeysError, match="is not among the keys of"):
        keys.load(folder, Role.LEARNER)


def test_halves_of_two_pairs_are_refused(folder):
    document = json.loads((folder / "actor.key").read_text())
    other = json.loads((folder / "head.key").read_text())
    (folder / "actor.key").write_text(json.dumps(document | {"secret": other["secret"]}))
    with pytest.raises(KeysError, match="its halves do not belong together") as caught:
        keys.load(folder, Role.ACTOR)
    assert other["secret"] not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"null", b"\xff\xfe", b'{"role": "actor"', b"[" * 50_000,
     b'{"role":"actor","public":1,"secret":2}', b'{"role":"actor","public":"x","secret":"y"}',
     b" " * 100_000],
)  # fmt: skip
def test_damage_is_one_sentence_that_tells_nothing_of_the_content(folder, content):
    (folder / "actor.key").write_bytes(content)
    with pytest.raises(KeysError) as caught:
        keys.load(folder, Role.ACTOR)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("listed", ["x", ["short"], [1], ["a" * 41], [["a" * 40]], {"a": 1}])
def test_a_damaged_list_is_refused(folder, listed):
    document = json.loads((folder / LIST).read_text()) | {"actor": listed}
    (folder / LIST).write_text(json.dumps(document))
    with pytest.raises(KeysError, match=LIST):
        keys.read_allowed(folder)


def test_a_key_cannot_stand_for_two_roles(folder):
    document = json.loads((folder / LIST).read_text())
    document["head"] += document["actor"]
    (folder / LIST).write_text(json.dumps(document))
    with pytest.raises(KeysError, match="names one key twice"):
        keys.load(folder, Role.ACTOR)


def test_rotation_keeps_the_old_key_until_it_is_retired(folder):
    old = keys.load(folder, Role.ACTOR).pair.public
    keys.rotate(folder, Role.ACTOR)
    new = keys.load(folder, Role.ACTOR).pair.public
    assert new != old
    assert keys.read_allowed(folder)[Role.ACTOR] == (new, old)
    assert keys.retire(folder, Role.ACTOR) == 1
    assert keys.read_allowed(folder)[Role.ACTOR] == (new,)
    assert keys.retire(folder, Role.ACTOR) == 0


def test_the_list_cannot_outgrow_what_is_read(folder):
    document = json.loads((folder / LIST).read_text())
    document["actor"] += [zmq.curve_keypair()[0].decode() for _ in range(62)]
    (folder / LIST).write_text(json.dumps(document))
    keys.rotate(folder, Role.ACTOR)
    with pytest.raises(KeysError, match="retire the old ones"):
        keys.rotate(folder, Role.ACTOR)
    assert len(keys.read_allowed(folder)[Role.ACTOR]) == 64


def test_a_list_without_servers_says_so(folder):
    own = keys.load(folder, Role.ACTOR)
    document = json.loads((folder / LIST).read_text()) | {"head": []}
    (folder / LIST).write_text(json.dumps(document))
    with pytest.raises(KeysError, match="names no key for the head"):
        own.server_key(Role.HEAD)


def test_the_option_goes_before_the_environment(tmp_path):
    environment = {keys.VARIABLE: "/etc/dm2"}
    assert keys.folder_of(tmp_path, environment) == tmp_path
    assert str(keys.folder_of(None, environment)) == "/etc/dm2"
    assert keys.folder_of(None, {}) is None
    assert keys.folder_of(None, {keys.VARIABLE: ""}) is None
