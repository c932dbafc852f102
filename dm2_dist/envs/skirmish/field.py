"""Names of the rows of the packed arrays that the kernels work on.

A battle is two arrays, `real` float64 [R, U] and `integer` int64 [I, U], with one row for each
quantity and one column for each unit (agents first, then enemies). Packing keeps every kernel at a
handful of arguments and one compiled signature for all maps.
"""

from __future__ import annotations

# Rows of `real`: what changes in a battle.
X = 0
Y = 1
HEALTH = 2
SHIELD = 3
COOLDOWN = 4  # loops until the next swing may begin
ENERGY = 5
WINDUP = 6  # loops until the swing in progress takes effect
PENDING = 7  # loops until the missile or the second hit lands
ORDER_X = 8
ORDER_Y = 9
GOAL_X = 10  # where the unit walks in this loop
GOAL_Y = 11
REACH = 12  # how near to the goal it wants to get, centre to centre
PREVIOUS = 13  # health + shield one environment step ago, 0 once dead
NUM_REALS = 14

# Rows of `integer`.
ALIVE = 0
ORDER = 1
TARGET = 2  # unit under attack, -1 for none
SWING = 3  # target of the swing in progress, -1 for none
PENDING_TARGET = 4  # who the missile or second hit is for, -1 for none
MOVING = 5
ANCHORED = 6  # stands and fights: not pushed aside
SIDE = 7  # which way it walks around obstacles (sign: left positive) and for how many more loops
QUIET = 8  # loops since the last damage
HELP = 9  # loop from which the unit may call for help again
NUM_INTEGERS = 10

# Orders.
IDLE = 0
MOVE = 1
ATTACK = 2
MARCH = 3  # attack-move: walk to a point, fight what comes into range

# Rows of `trait` float64 [F, U]: what stays the same in all battles of a map.
HEALTH_MAX = 0
SHIELD_MAX = 1
ARMOR = 2
SPEED = 3
BODY = 4  # radius for ranges
SEPARATION = 5  # radius for collisions
RANGE = 6
SCAN = 7
PERIOD = 8
DAMAGE_POINT = 9
MISSILE = 10  # 1 if hits travel
HIT_DELAY = 11  # loops to the second hit of a swing, 0 if there is none
REGENERATION = 12  # health a loop
COOLDOWN_SCALE = 13
SHIELD_SCALE = 14
TYPE_BIT = 15
SPAWN_X = 16
SPAWN_Y = 17
ENERGY_START = 18
NUM_TRAITS = 19

# Entries of `number` int64: sizes and switches.
NUM_AGENTS = 0
NUM_UNITS = 1
NUM_ACTIONS = 2
EPISODE_LIMIT = 3
STEP_LOOPS = 4
TYPE_BITS = 5
ALLY_SHIELD = 6
ENEMY_SHIELD = 7
OBS_ALL_HEALTH = 8
OBS_OWN_HEALTH = 9
OBS_LAST_ACTION = 10
OBS_PATHING_GRID = 11
OBS_TERRAIN_HEIGHT = 12
OBS_INSTEAD_OF_STATE = 13
OBS_TIMESTEP = 14
STATE_LAST_ACTION = 15
STATE_TIMESTEP = 16
COMPUTE_STATE = 17
REWARD_SPARSE = 18
REWARD_ONLY_POSITIVE = 19
ANY_DISTANCE = 20
NUM_NUMBERS = 21

# Entries of `weight` float64: lengths and rewards.
MOVE_AMOUNT = 0
MARCH_X = 1
MARCH_Y = 2
ARRIVAL = 3  # distance from the march point at which a unit stops pressing on
REWARD_DEATH = 4
REWARD_WIN = 5
REWARD_DEFEAT = 6
REWARD_NEGATIVE = 7
REWARD_DIVISOR = 8
NUM_WEIGHTS = 9

# Codes of `cell` uint8 [32, 32], indexed [x, y].
CLIFF = 0
EDGE = 1  # pathable, next to a cliff or the border
GROUND = 2  # pathable, like all eight neighbours
