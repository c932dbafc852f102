import json

import pytest

from dm2_dist.comms import keys
from dm2_dist.comms.keys import LIST, Role
from launch.keys import main


@pytest.fixture
def folder(tmp_path):
    assert main(["init", str(tmp_path / "keys")]) == 0
    return tmp_path / "keys"


def secrets_of(folder):
    """Everything that must not be printed, the public keys included: fingerprints do."""
    found = []
    for path in folder.glob("*.key"):
        document = json.loads(path.read_text())
        found += [document["secret"], document["public"]]
    return found


def test_init_says_what_goes_where_and_shows_fingerprints_only(tmp_path, capsys):
    folder = tmp_path / "keys"
    assert main(["init", str(folder)]) == 0
    text = capsys.readouterr().out
    for role in Role:
        assert f"{role}.key" in text
        assert keys.fingerprint(keys.load(folder, role).pair.public) in text
    assert "every host with an actor" in text
    assert not any(secret in text for secret in secrets_of(folder))


def test_init_does_not_overwrite(folder, capsys):
    assert main(["init", str(folder)]) == 1
    assert "never overwritten" in capsys.readouterr().err


def test_show_on_an_actors_host(folder, capsys):
    capsys.readouterr()
    for role in ("head", "learner", "launcher"):
        (folder / f"{role}.key").unlink()
    assert main(["show", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["role", *Role]
    assert "secret key in actor.key" in lines[3]
    assert "secret key elsewhere" in lines[1]


def test_show_says_what_is_wrong_with_a_key(folder, capsys):
    (folder / "actor.key").chmod(0o644)
    assert main(["show", str(folder)]) == 0
    assert "unusable: others may read the secret key" in capsys.readouterr().out
    (folder / LIST).write_text("{")
    assert main(["show", str(folder)]) == 1
    assert "is not a file of keys" in capsys.readouterr().err


def test_rotate_and_retire(folder, capsys):
    assert main(["rotate", str(folder), "--role", "actor"]) == 0
    text = capsys.readouterr().out
    assert "first, then actor.key" in text
    assert "older, still accepted" in text
    assert not any(secret in text for secret in secrets_of(folder))
    assert main(["retire", str(folder), "--role", "actor"]) == 0
    text = capsys.readouterr().out
    assert "took 1 old key of the actor off" in text
    assert "older" not in text
    assert main(["rotate", str(folder), "--role", "head"]) == 0
    assert "stop the run" in capsys.readouterr().out


def test_an_old_copy_of_a_key_is_recognised(folder, capsys):
    old = (folder / "actor.key").read_bytes()
    keys.rotate(folder, Role.ACTOR)
    (folder / "actor.key").write_bytes(old)
    main(["show", str(folder)])
    assert "actor.key is an older one; copy it anew" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["rotate", "D"], ["init", "D", "--role", "actor"]])
def test_wrong_arguments(words, capsys):
    assert main(words) == 2
    assert "--role" in capsys.readouterr().err
