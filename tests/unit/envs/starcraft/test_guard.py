"""What keeps SMAC's class from inventing battles, on a class that invents them without a game."""

from types import SimpleNamespace

import pytest

from dm2_dist.envs.starcraft.guard import GameFault, guarded


def unit(owner, health=45.0, shield=0.0):
    return SimpleNamespace(
        owner=owner, health=health, health_max=health, shield_max=shield, tag=id(object())
    )


def observation(loop, units, ended=()):
    raw = SimpleNamespace(units=units)
    return SimpleNamespace(
        observation=SimpleNamespace(game_loop=loop, raw_data=raw), player_result=list(ended)
    )


class Controller:
    """A game in which one more unit appears with every loop."""

    def __init__(self, roster):
        self.roster, self.loop, self.shown = roster, 0, 0

    def step(self, count):
        self.loop += count

    def observe(self):
        self.shown = min(self.shown + 1, len(self.roster))
        return observation(self.loop, self.roster[: self.shown])


class Smac:
    """The parts of SMAC's class that the guard changes, with their habits."""

    n_agents, n_enemies = 2, 3

    def __init__(self, controller):
        self._controller, self._obs, self._episode_count = controller, None, 0
        self.max_reward = 230.0
        self.agents, self.enemies = {}, {}
        self.answers = []

    def reset(self):
        self._obs = self._controller.observe()
        self.init_units()

    def init_units(self):
        while True:
            units = self._obs.observation.raw_data.units
            self.agents = dict(enumerate(u for u in units if u.owner == 1))
            self.enemies = dict(enumerate(u for u in units if u.owner == 2))
            min(self.agents.values(), key=lambda u: u.health)
            if self._episode_count == 0:
                self.max_reward += sum(u.health_max + u.shield_max for u in self.enemies.values())
            if (len(self.agents), len(self.enemies)) == (2, 3):
                return
            self._controller.step(1)
            self._obs = self._controller.observe()

    def full_restart(self):
        raise AssertionError("SMAC started another game by itself")

    def step(self, actions):
        answer, self._obs = self.answers.pop(0)
        if isinstance(answer, Exception):
            try:
                raise answer
            except ValueError:
                self.full_restart()
                return 0, True, {}
        return answer

    def get_obs(self):
        return [[0.0] * 4] * 2

    def get_state(self):
        return [0.0] * 5

    def get_avail_actions(self):
        return [[0, 1, 1]] * 2


ROSTER = [unit(2, shield=10.0), unit(2), unit(1), unit(2), unit(1)]
STEP = (1.5, False, {"battle_won": False})


@pytest.fixture
def env():
    made = guarded(Smac)(Controller(ROSTER))
    made.start_battle()
    return made


def test_enemies_that_come_late_are_counted_once(env):
    assert env.max_reward == 230.0 + 3 * 45.0 + 10.0
    unguarded = Smac(Controller(ROSTER))
    unguarded._controller.shown = 2
    unguarded.reset()
    assert unguarded.max_reward > env.max_reward  # the habit is there


def test_later_battles_do_not_change_the_largest_reward(env):
    before, env._episode_count = env.max_reward, 1
    env._controller.step(2)
    env.start_battle()
    assert env.max_reward == before


def test_units_that_never_come_are_not_waited_for_without_limit():
    with pytest.raises(GameFault, match=r"1 of 2 allies and 3 of 3 enemies .* 448 game loops"):
        guarded(Smac)(Controller(ROSTER[:-1])).start_battle()


def test_a_step_is_told_whole(env):
    ended = (20.0, True, {"battle_won": True})
    late = (0.5, True, {"battle_won": False, "episode_limit": True})
    env.answers = [(a, observation(n * 8 + 8, ROSTER)) for n, a in enumerate((STEP, ended, late))]
    frames = [env.play([1, 1]) for _ in range(3)]
    told = [(f.reward, f.terminated, f.truncated, f.won) for f in frames]
    assert told == [
        (1.5, False, False, False),
        (20.0, True, False, True),
        (0.5, False, True, False),
    ]
    assert (len(frames[0].observation), len(frames[0].state)) == (2 * 4 * 4, 5 * 4)
    assert (frames[0].available, frames[0].alive) == (bytes([0, 1, 1] * 2), bytes([1, 1]))


@pytest.mark.parametrize(
    ("answer", "seen", "named"),
    [
        (ValueError("the socket is closed"), observation(800, ROSTER), "broke off"),
        ((0, True, {}), observation(800, ROSTER), "made up"),
        (STEP, observation(800, ROSTER, ended=["defeat"]), "repeats itself"),
        (STEP, observation(4, ROSTER), "stands still at loop 4"),
    ],
)
def test_nothing_is_made_up(env, answer, seen, named):
    env._obs = observation(4, ROSTER)
    env.answers = [(answer, seen)]
    with pytest.raises(GameFault, match=named):
        env.play([1, 1])


def test_a_battle_does_not_begin_in_a_game_that_has_ended(env):
    env._controller.observe = lambda: observation(900, ROSTER, ended=["defeat"])
    with pytest.raises(GameFault, match="repeats itself"):
        env.start_battle()
