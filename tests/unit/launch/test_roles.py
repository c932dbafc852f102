"""The commands `dm2 head`, `dm2 learner` and `dm2 actor`: words in, one sentence or a role out."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import main as actor_main
from dm2_dist import config as configuration
from dm2_dist import run_directory
from dm2_dist.comms import codec, messages, queue_limit
from dm2_dist.comms.control import HeadLink, HeadLostError
from dm2_dist.config import ConfigError, RunConfig
from dm2_dist.run_directory import RunDirectoryError
from launch import actor_name, roles
from monitoring import catalogue

ROOT = Path(__file__).resolve().parents[3]


def dm2(*words: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if " INFO " not in line]
    return done.returncode, "\n".join(lines)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("actor --connect head:5555", 2, "'head:5555' is not an address"),
        ("actor --connect tcp://127.0.0.1:5 --name learner-0", 2, "--name learner-0 is not an"),
        ("actor --connect tcp://127.0.0.1:5 --keys {empty}/none", 1, "none"),
        ("actor --connect tcp://198.18.0.1:5555", 2, "nothing is encrypted"),
        ("learner --connect tcp://127.0.0.1:5 --agent 0 --run-dir {run} --listen x", 2, "'x' is"),
        ("learner --connect tcp://127.0.0.1:5 --agent 3 --run-dir {run}", 2, "agents 0 to 2"),
        ("head --listen tcp://0.0.0.0:5555 --run-dir {empty}/r --metrics-port 0", 2, "encrypted"),
        ("head --listen nowhere --run-dir {empty}/r --metrics-port 0", 2, "is not an address"),
    ],
)
def test_wrong_words_are_one_sentence(words: str, code: int, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "run/logs").mkdir(parents=True)
    run_directory.acquire(tmp_path / "run", RunConfig(), resume=False)[1].release()
    places = {"run": tmp_path / "run", "empty": tmp_path}
    found, text = dm2(*words.format(**places).split(), DM2_KEYS="")
    assert (found, text.count("\n")) == (code, 0), text
    assert text.startswith("dm2: ")
    assert sentence in text


def test_every_role_tells_its_options() -> None:
    for role in ("head", "learner", "actor"):
        done = subprocess.run(
            [sys.executable, "-m", "launch.cli", role, "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "--connect" in done.stdout
        assert "--keys" in done.stdout


@given(st.text(max_size=300), st.integers(1, 2**22))
def test_a_host_of_any_name_has_actors_of_proper_names(host: str, pid: int) -> None:
    name = actor_name.make(host, pid)
    assert messages.Source(name=name, incarnation=0)
    assert codec.unpack(
        codec.pack(messages.Want(source=messages.Source(name=name, incarnation=1))),
        messages.CONTROL_KINDS,
    )
    actor_name.check(name)


def test_an_incarnation_is_newer_than_all_before_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for clock in (500, 700, 100, 100, 900):
        monkeypatch.setattr(roles.time, "time_ns", lambda: clock)  # noqa: B023
        found.append(roles.next_incarnation(tmp_path / "learner-0.incarnation"))
    assert found == [500, 700, 701, 702, 900]
    (tmp_path / "learner-0.incarnation").write_text("torn")
    assert roles.next_incarnation(tmp_path / "learner-0.incarnation") == 900


def test_the_scenario_of_the_run_must_be_here_and_the_same(tmp_path: Path) -> None:
    plain = RunConfig()
    assert actor_main._with_scenario(plain, None) == plain
    own = tmp_path / "scenario.toml"
    own.write_text("name = 'hills'\n")
    config = run_directory.pin_scenario(replace(plain, map=str(own)))
    far = replace(config, map="/elsewhere/scenario.toml")
    with pytest.raises(ConfigError, match=r"plays the scenario scenario\.toml; copy it"):
        actor_main._with_scenario(far, None)
    assert actor_main._with_scenario(far, own) == config
    own.write_text("name = 'valley'\n")
    with pytest.raises(RunDirectoryError, match="is not the scenario"):
        actor_main._with_scenario(far, own)
    assert configuration.from_json(configuration.to_json(far)) == far


def test_an_actor_whose_head_does_not_answer_says_so(tmp_path: Path) -> None:
    source = messages.Source(name="actor-a", incarnation=1)
    with pytest.raises(actor_main.HeadSilentError, match="no head answered at ipc://"):
        actor_main.introduce(f"ipc://{tmp_path}/head", source, 0.05)


def test_a_head_that_has_been_silent_for_long_is_given_up(tmp_path: Path) -> None:
    source = messages.Source(name="actor-a", incarnation=1)

    def hello(source: messages.Source) -> messages.Hello:
        return messages.Hello(protocol=1, source=source, role="actor", pid=1)

    link = HeadLink(f"ipc://{tmp_path}/head", source, hello)
    try:
        start = time.monotonic()
        assert [*link.poll(start)] == []
        assert [*link.poll(start + 599)] == []
        with pytest.raises(HeadLostError, match="has said nothing for 600 s"):
            [*link.poll(start + 601)]
    finally:
        link.dealer.close()


def test_the_bounds_of_the_transport_are_named_as_in_the_catalogue() -> None:
    assert set(queue_limit.of_actor(3)) <= set(catalogue.ACTOR_QUEUES)
    assert set(queue_limit.of_learner(3)) <= set(catalogue.LEARNER_QUEUES)
    assert set(queue_limit.of_head(3)) == set(catalogue.HEAD_QUEUES)
    for bounds in (queue_limit.of_actor, queue_limit.of_learner, queue_limit.of_head):
        assert min(bounds(1).values()) > 0
        assert sum(bounds(5).values()) > sum(bounds(1).values())
