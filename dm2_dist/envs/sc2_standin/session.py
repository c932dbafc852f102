"""What the stand-in answers: one function from request to response, and the state between them.

Fed by `server` with decoded messages; plays `game`.
"""

from __future__ import annotations

import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dm2_dist.envs.sc2_standin import NOTICE
from dm2_dist.envs.sc2_standin.fault import FaultPlan
from dm2_dist.envs.sc2_standin.protocol import Message, Protocol
from dm2_dist.envs.sc2_standin.version import PLACEHOLDER, Version

if TYPE_CHECKING:
    from dm2_dist.envs.sc2_standin.game import Game
    from dm2_dist.envs.sc2_standin.picture import Picture

GAME_OVER = "Game has already ended"
REPLAY = f"{NOTICE}\nThis is no replay.\n".encode()

_MEBIBYTE = 1 << 20


class RefusedError(Exception):
    """A request that cannot be answered; the message goes to the client."""


class Session:
    """One client's dealings with the game.

    Attributes:
        requests: requests answered.
        quitting: whether the client has asked the program to end.
    """

    def __init__(self, protocol: Protocol, version: Version, faults: FaultPlan) -> None:
        """Nothing is played yet.

        Args:
            protocol: the messages.
            version: which build of the game to stand in for.
            faults: what shall go wrong.
        """
        self._protocol = protocol
        self._version = version
        self._faults = faults
        self._status: int = protocol.sc2api.launched
        self._map_path = ""
        self._map_name = ""
        self._seed: int | None = None
        self._game: Game | None = None
        self._picture: Picture | None = None
        self._leaked: list[bytearray] = []
        self.requests = 0
        self.quitting = False

    def reply(self, message: bytes) -> bytes:
        """Answer one request, in bytes."""
        sc2api = self._protocol.sc2api
        try:
            request = sc2api.Request.FromString(message)
        except Exception as error:  # the parser's error class depends on its implementation
            self.requests += 1
            response = sc2api.Response(error=[f"no request could be read: {error}"])
            response.status = self._status
        else:
            response = self.answer(request)
        data: bytes = response.SerializeToString()
        return data

    def answer(self, request: Message) -> Message:
        """Answer one request."""
        self.requests += 1
        sc2api = self._protocol.sc2api
        response = sc2api.Response()
        if request.HasField("id"):
            response.id = request.id
        kind = request.WhichOneof("request")
        try:
            self._answer(kind, request, response)
        except RefusedError as refusal:
            response.Clear()
            response.id = request.id
            response.error.append(str(refusal))
        self._spoil(response)
        return response

    def _spoil(self, response: Message) -> None:
        """Add the status, and whatever is to go wrong with an answer."""
        faults, number = self._faults, self.requests
        if faults.strikes_at("wrong_status_at", number):
            self._status = self._protocol.sc2api.ended
        if faults.strikes_at("error_at", number):
            response.error.append("an error on order")
        if faults.strikes_at("wrong_id_at", number):
            response.id += 1
        if not faults.strikes_at("missing_status_at", number):
            response.status = self._status

    def _answer(self, kind: str | None, request: Message, response: Message) -> None:
        match kind:
            case "ping":
                response.ping.CopyFrom(self._ping())
            case "create_game":
                self._create(request.create_game, response.create_game)
            case "join_game":
                self._join(request.join_game, response.join_game)
            case "restart_game":
                self._need("restart_game", self._protocol.sc2api.in_game)
                self._begin()
                response.restart_game.SetInParent()
            case "leave_game":
                self._status = self._protocol.sc2api.launched
                response.leave_game.SetInParent()
            case "quit":
                self.quitting = True
                self._status = self._protocol.sc2api.quit
                response.quit.SetInParent()
            case "available_maps":
                from dm2_dist.envs.sc2_standin.tree import map_paths

                response.available_maps.local_map_paths.extend(map_paths())
            case _:
                self._answer_in_game(kind, request, response)

    def _answer_in_game(self, kind: str | None, request: Message, response: Message) -> None:
        sc2api = self._protocol.sc2api
        match kind:
            case "observation":
                self._need(kind, sc2api.in_game)
                response.observation.CopyFrom(self._observation())
            case "step":
                self._need(kind, sc2api.in_game)
                self._step(request.step, response.step)
            case "action":
                self._need(kind, sc2api.in_game)
                self._act(request.action, response.action)
            case "debug":
                self._need(kind, sc2api.in_game)
                self._debug(request.debug)
                response.debug.SetInParent()
            case "game_info":
                self._need(kind, sc2api.in_game)
                packed = self._version.packed_grid
                response.game_info.CopyFrom(self._drawn.game_info(self._map_path, packed=packed))
            case "data":
                self._need(kind, sc2api.in_game)
                response.data.CopyFrom(self._drawn.data())
            case "save_replay":
                self._need(kind, sc2api.in_game, sc2api.ended)
                response.save_replay.data = REPLAY
            case _:
                raise RefusedError(f"the stand-in does not answer requests of kind {kind}")

    def _need(self, kind: str, *allowed: int) -> None:
        """Refuse a request that makes no sense now."""
        if self._status not in allowed:
            names = self._protocol.sc2api.Status
            if self._status == self._protocol.sc2api.ended:
                raise RefusedError(GAME_OVER)
            raise RefusedError(
                f"{kind} makes no sense while the game is {names.Name(self._status)}"
            )

    def _ping(self) -> Message:
        return self._protocol.sc2api.ResponsePing(
            game_version=f"{self._version.name}.{self._version.build}-standin",
            data_version=self._version.data_version,
            data_build=self._version.build,
            base_build=self._version.build,
        )

    def _create(self, wanted: Message, answer: Message) -> None:
        answer.SetInParent()
        refusal = self._why_no_game(wanted)
        if refusal is not None:
            answer.error, answer.error_details = refusal
            return
        self._map_path = wanted.local_map.map_path
        self._map_name = PurePosixPath(self._map_path).stem
        self._seed = wanted.random_seed if wanted.HasField("random_seed") else None
        self._game = self._picture = None
        self._status = self._protocol.sc2api.init_game

    def _why_no_game(self, wanted: Message) -> tuple[int, str] | None:
        """Error number and reason if no game can be created."""
        error = self._protocol.sc2api.ResponseCreateGame
        if self._status in (self._protocol.sc2api.init_game, self._protocol.sc2api.quit):
            raise RefusedError("a game has been created already; join it")
        if self._faults.strikes("refuse_create"):
            return error.InvalidMapData, "refused on order"
        path, data = wanted.local_map.map_path, wanted.local_map.map_data
        if not path:
            return error.MissingMap, "no map was named"
        from dm2_dist.envs.skirmish.battle_map import MAPS

        name = PurePosixPath(path).stem
        if name not in MAPS:
            known = ", ".join(MAPS)
            return error.InvalidMapName, f"the stand-in has no map {name}; it has {known}"
        if data.startswith(PLACEHOLDER) and data.splitlines()[0] != PLACEHOLDER + name.encode():
            return error.InvalidMapData, f"the map data are not those of {name}"
        sc2api = self._protocol.sc2api
        players = sorted(player.type for player in wanted.player_setup)
        if players != [sc2api.Participant, sc2api.Computer] or wanted.realtime:
            return error.InvalidPlayerSetup, "one participant and one computer, not in realtime"
        return None

    def _join(self, wanted: Message, answer: Message) -> None:
        error = self._protocol.sc2api.ResponseJoinGame
        self._need("join_game", self._protocol.sc2api.init_game)
        answer.SetInParent()
        if self._faults.strikes("refuse_join"):
            answer.error, answer.error_details = error.LaunchError, "refused on order"
        elif not wanted.options.raw:
            answer.error, answer.error_details = error.MissingOptions, "only raw units are offered"
        else:
            self._begin()
            answer.player_id = 1
            self._status = self._protocol.sc2api.in_game

    def _begin(self) -> None:
        # Imported late: the simulator's compiler takes longer than it takes to listen.
        from dm2_dist.envs.sc2_standin.game import Game
        from dm2_dist.envs.sc2_standin.picture import Picture

        self._game = Game(self._map_name, self._seed, self._faults)
        self._picture = Picture(self._protocol, self._game)

    @property
    def _played(self) -> Game:
        assert self._game is not None
        return self._game

    @property
    def _drawn(self) -> Picture:
        assert self._picture is not None
        return self._picture

    def _observation(self) -> Message:
        if self._faults.strikes_from("stub_observation_at", self.requests):
            self._status = self._protocol.sc2api.ended
            return self._drawn.stub()
        return self._drawn.observation()

    def _step(self, wanted: Message, answer: Message) -> None:
        if self._faults.strikes_from("already_ended_at", self.requests):
            raise RefusedError(GAME_OVER)
        if self._faults.strikes_from("wipe_out_at", self.requests):
            self._played.wipe_out()
        if self._faults.strikes("leak"):
            size = int(self._faults.value("leak") * _MEBIBYTE)
            self._leaked.append(bytearray(b"\xff" * size))
        self._played.step(max(1, wanted.count))
        answer.simulation_loop = self._played.loop

    def _act(self, wanted: Message, answer: Message) -> None:
        answer.SetInParent()
        for action in wanted.actions:
            if not action.action_raw.HasField("unit_command"):
                answer.result.append(self._protocol.error.NotSupported)
                continue
            given = action.action_raw.unit_command
            where = given.target_world_space_pos
            answer.result.append(
                self._played.command(
                    given.ability_id,
                    given.unit_tags,
                    given.target_unit_tag if given.HasField("target_unit_tag") else None,
                    (where.x, where.y) if given.HasField("target_world_space_pos") else None,
                )
            )

    def _debug(self, wanted: Message) -> None:
        for order in wanted.debug:
            if order.HasField("kill_unit"):
                self._played.kill(order.kill_unit.tag)
            else:
                print(f"{NOTICE}; ignored a debug command", file=sys.stderr, flush=True)
