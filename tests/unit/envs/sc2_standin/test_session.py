from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dm2_dist.envs.sc2_standin import fault, picture, protocol, version
from dm2_dist.envs.sc2_standin.session import GAME_OVER, Session
from dm2_dist.envs.skirmish import MAPS, SkirmishEnv
from dm2_dist.envs.skirmish.raw_battle import RawBattle

pytest.importorskip("s2clientprotocol", reason="the extra [sc2] is not installed")

MESSAGES = protocol.load()
sc = MESSAGES.sc2api


class Client:
    """Asks a session, in bytes, as over the wire."""

    def __init__(self, *, build: int = 75689, **faults: float) -> None:
        self.session = Session(MESSAGES, version.of_build(build), fault.FaultPlan(faults))
        self.number = 0

    def ask(self, **request: Any) -> Any:
        self.number += 1
        message = sc.Request(id=self.number, **request)
        return sc.Response.FromString(self.session.reply(message.SerializeToString()))

    def create(self, map_name: str = "3m", **changes: Any) -> Any:
        wanted = sc.RequestCreateGame(random_seed=5)
        wanted.local_map.map_path = f"SMAC_Maps/{map_name}.SC2Map"
        wanted.player_setup.add(type=sc.Participant)
        wanted.player_setup.add(type=sc.Computer, race=1, difficulty=7)
        wanted.MergeFrom(sc.RequestCreateGame(**changes))
        return self.ask(create_game=wanted)

    def join(self, *, raw: bool = True) -> Any:
        options = sc.InterfaceOptions(raw=raw)
        return self.ask(join_game=sc.RequestJoinGame(race=1, options=options))

    def start(self, map_name: str = "3m") -> Client:
        assert self.create(map_name).status == sc.init_game
        assert self.join().status == sc.in_game
        return self

    def observe(self) -> Any:
        return self.ask(observation=sc.RequestObservation())

    def units(self) -> list[Any]:
        return list(self.observe().observation.observation.raw_data.units)

    def step(self, count: int = 8) -> Any:
        return self.ask(step=sc.RequestStep(count=count))

    def kill(self, tags: list[int]) -> Any:
        request = sc.RequestDebug()
        request.debug.add().kill_unit.tag.extend(tags)
        return self.ask(debug=request)

    def command(self, **given: Any) -> int:
        request = sc.RequestAction()
        request.actions.add().action_raw.unit_command.MergeFrom(
            MESSAGES.raw.ActionRawUnitCommand(**given)
        )
        return int(self.ask(action=request).action.result[0])


def test_a_game_goes_through_its_states() -> None:
    client = Client()
    assert client.ask(ping=sc.RequestPing()).status == sc.launched
    assert client.create().status == sc.init_game
    assert client.join().status == sc.in_game
    assert client.step().status == sc.in_game
    assert client.ask(leave_game=sc.RequestLeaveGame()).status == sc.launched
    assert client.create("8m").status == sc.init_game
    assert client.join().status == sc.in_game
    assert len(client.units()) == 16
    answer = client.ask(quit=sc.RequestQuit())
    assert answer.status == sc.quit
    assert client.session.quitting


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: {"step": sc.RequestStep(count=1)},
        lambda: {"observation": sc.RequestObservation()},
        lambda: {"action": sc.RequestAction()},
        lambda: {"game_info": sc.RequestGameInfo()},
        lambda: {"debug": sc.RequestDebug()},
        lambda: {"join_game": sc.RequestJoinGame(race=1)},
        lambda: {"data": sc.RequestData()},
        lambda: {"save_replay": sc.RequestSaveReplay()},
        lambda: {"restart_game": sc.RequestRestartGame()},
    ],
)
def test_what_needs_a_game_is_refused_without_one(request_of: Callable[[], Any]) -> None:
    client = Client()
    answer = client.ask(**request_of())
    assert answer.error
    assert answer.id == 1
    assert answer.status == sc.launched


def test_what_is_not_understood_is_answered_with_an_error() -> None:
    client = Client().start()
    assert "query" in client.ask(query={}).error[0]
    answer = sc.Response.FromString(client.session.reply(b"\xff\xff\xff\xff"))
    assert "no request could be read" in answer.error[0]
    assert answer.status == sc.in_game


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"local_map": {"map_path": "SMAC_Maps/nowhere.SC2Map"}},
            sc.ResponseCreateGame.InvalidMapName,
        ),
        ({"player_setup": [{"type": sc.Computer}]}, sc.ResponseCreateGame.InvalidPlayerSetup),
        ({"realtime": True}, sc.ResponseCreateGame.InvalidPlayerSetup),
        (
            {"local_map": {"map_data": version.PLACEHOLDER + b"8m\nmore"}},
            sc.ResponseCreateGame.InvalidMapData,
        ),
    ],
)
def test_a_game_that_cannot_be_is_refused(changes: dict[str, Any], error: int) -> None:
    client = Client()
    answer = client.create(**changes)
    assert answer.create_game.error == error
    assert answer.create_game.error_details
    assert answer.status == sc.launched


def test_a_game_needs_a_map() -> None:
    client = Client()
    answer = client.ask(create_game=sc.RequestCreateGame())
    assert answer.create_game.error == sc.ResponseCreateGame.MissingMap


def test_real_map_files_are_welcome() -> None:
    client = Client()
    assert not client.create(local_map={"map_data": b"MPQ\x1b rest"}).create_game.HasField("error")


def test_raw_units_must_be_asked_for() -> None:
    client = Client()
    client.create()
    assert client.join(raw=False).join_game.error == sc.ResponseJoinGame.MissingOptions


def test_ping_tells_the_build_and_that_it_is_not_the_game() -> None:
    told = Client(build=69232).ask(ping=sc.RequestPing()).ping
    assert told.game_version == "4.6.2.69232-standin"
    assert told.base_build == 69232


@pytest.mark.parametrize("map_name", ["3m", "MMM2", "2s3z", "bane_vs_bane"])
def test_units_are_those_that_smac_expects(map_name: str) -> None:
    client = Client().start(map_name)
    units = client.units()
    env = SkirmishEnv(map_name, seed=5)
    env.reset()
    expected = [*env.agents.values(), *env.enemies.values()]
    allies = sorted(
        (unit for unit in units if unit.owner == 1),
        key=lambda unit: (unit.unit_type, unit.pos.x, unit.pos.y),
    )
    for unit, other in zip(allies + units[len(allies) :], expected, strict=True):
        for name in ("unit_type", "owner", "health", "health_max", "shield", "shield_max"):
            assert getattr(unit, name) == getattr(other, name), name
        assert (unit.pos.x, unit.pos.y) == (other.pos.x, other.pos.y)
        assert (unit.energy, unit.energy_max) == (other.energy, other.energy_max)
        assert unit.alliance == (1 if unit.owner == 1 else 4)
        assert unit.radius == pytest.approx(other.radius)
    assert len({unit.tag for unit in units}) == len(units)


def test_commands_move_units_and_are_answered() -> None:
    client = Client().start()
    unit = client.units()[0]
    here = unit.pos.x, unit.pos.y
    there = {"x": here[0] - 2, "y": here[1]}
    assert client.command(ability_id=16, unit_tags=[unit.tag], target_world_space_pos=there) == 1
    assert client.command(ability_id=16, unit_tags=[unit.tag]) == 2
    assert client.command(ability_id=4, unit_tags=[1]) == 3
    assert client.ask(action={"actions": [{}]}).action.result == [2]
    assert client.step().step.simulation_loop == 8
    moved = client.units()[0]
    assert moved.pos.x == pytest.approx(here[0] - 8 * 0.140625, abs=0.02)


def test_killing_everybody_brings_new_units() -> None:
    client = Client().start()
    before = {unit.tag for unit in client.units()}
    client.kill(sorted(before))
    client.step(2)
    after = {unit.tag for unit in client.units()}
    assert len(after) == 6
    assert not after & before


def test_the_seed_names_the_battles_and_none_draws_one() -> None:
    def first(**changes: Any) -> list[float]:
        client = Client()
        client.create(**changes)
        client.join()
        return [unit.pos.x for unit in client.units()]

    assert first() == first()
    assert first() != first(random_seed=6)


@pytest.mark.parametrize("map_name", MAPS)
@pytest.mark.parametrize("build", [69232, 75689])
def test_grids_are_read_as_smac_reads_them(map_name: str, build: int) -> None:
    battle = RawBattle(map_name)
    if build == 75689:
        rows = np.frombuffer(picture.packed_grid(battle.pathable), np.uint8).reshape(32, 4)
        bits = [[(byte >> i) & 1 for byte in row for i in range(7, -1, -1)] for row in rows]
        read = np.transpose(np.array(bits, dtype=bool))
    else:
        cells = np.frombuffer(picture.blocked_grid(battle.pathable), np.uint8).astype(bool)
        read = np.invert(np.flip(np.transpose(cells.reshape(32, 32)), axis=1))
    assert (read == battle.pathable).all()
    heights = np.frombuffer(picture.from_the_top(battle.height), np.uint8).reshape(32, 32)
    assert (np.flip(np.transpose(heights), 1) == battle.height).all()


@pytest.mark.parametrize(("build", "bits"), [(69232, 8), (75689, 1)])
def test_game_info_tells_the_ground(build: int, bits: int) -> None:
    told = Client(build=build).start("corridor").ask(game_info=sc.RequestGameInfo()).game_info
    ground = told.start_raw
    assert (ground.map_size.x, ground.map_size.y) == (32, 32)
    assert (ground.playable_area.p0.x, ground.playable_area.p1.y) == (0, 32)
    assert ground.playable_area.p0.HasField("x")
    assert ground.pathing_grid.bits_per_pixel == bits
    assert len(ground.pathing_grid.data) == 128 * bits
    assert len(ground.terrain_height.data) == 1024
    assert "stand-in" in told.map_name


def test_the_catalogue_names_the_units() -> None:
    told = Client().start("MMM").ask(data=sc.RequestData(unit_type_id=True)).data
    assert {unit.name for unit in told.units} == {"Marine", "Marauder", "Medivac"}
    assert len(told.units) == 6


def test_a_replay_says_that_it_is_none() -> None:
    data = Client().start().ask(save_replay=sc.RequestSaveReplay()).save_replay.data
    assert b"NOT StarCraft II" in data


def test_a_restarted_game_is_the_same_again() -> None:
    client = Client().start()
    first = [unit.pos.x for unit in client.units()]
    client.step()
    assert client.ask(restart_game=sc.RequestRestartGame()).status == sc.in_game
    assert [unit.pos.x for unit in client.units()] == first


def test_debug_commands_of_no_use_are_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    client = Client().start()
    assert client.ask(debug={"debug": [{"game_state": 1}]}).status == sc.in_game
    assert "ignored a debug command" in capsys.readouterr().err


def test_faults_of_answers_strike_where_they_are_ordered() -> None:
    client = Client(error_at=2, wrong_id_at=3, missing_status_at=4)
    ping = sc.RequestPing()
    assert not client.ask(ping=ping).error
    assert client.ask(ping=ping).error
    assert client.ask(ping=ping).id == 4
    assert not client.ask(ping=ping).HasField("status")
    last = client.ask(ping=ping)
    assert (list(last.error), last.id, last.status) == ([], 5, sc.launched)


def test_a_wrong_status_ends_the_game() -> None:
    client = Client(wrong_status_at=3).start()
    assert client.observe().status == sc.ended
    answer = client.step()
    assert answer.error == [GAME_OVER]
    assert answer.status == sc.ended
    assert client.create().status == sc.init_game


def test_a_stub_comes_at_the_first_chance_and_ends_the_game() -> None:
    client = Client(stub_observation_at=3).start()
    assert client.step().status == sc.in_game
    answer = client.observe()
    assert answer.observation.observation.game_loop == 2**32 - 1
    assert answer.observation.player_result
    assert answer.status == sc.ended


def test_the_error_that_pysc2_swallows_leaves_the_game_where_it_is() -> None:
    client = Client(already_ended_at=1).start()
    answer = client.step()
    assert answer.error == [GAME_OVER]
    assert answer.status == sc.in_game
    assert client.step().step.simulation_loop == 8


def test_a_wipe_out_leaves_nobody_of_before() -> None:
    client = Client(wipe_out_at=1).start()
    before = {unit.tag for unit in client.units()}
    client.step()
    after = {unit.tag for unit in client.units()}
    assert len(after) == 6
    assert not before & after


def test_refusals_on_order() -> None:
    assert Client(refuse_create=0).create().create_game.error_details == "refused on order"
    client = Client(refuse_join=0)
    client.create()
    answer = client.join()
    assert answer.join_game.error == sc.ResponseJoinGame.LaunchError
    assert answer.status == sc.init_game


def test_a_leak_grows_with_every_step() -> None:
    client = Client(leak=1).start()
    for _ in range(3):
        client.step()
    assert sum(map(len, client.session._leaked)) == 3 << 20
