"""Names of the rows of the packed arrays that the kernels work on.

A battle is two arrays, `real` float64 [R, U] and `integer` int64 [I, U], with one row for each
quantity and one column for each unit (agents first, then enemies). Packing keeps every kernel at a
handful of arguments and one compiled signature for all maps.
"""

from __future__ import annotations

MAP_SIZE = 32
"""Width and height of every map in cells."""

NUM_BASIC_ACTIONS = 6
"""No-op, stop and four moves; action 6 + k attacks enemy k (a medivac heals ally k)."""

NUM_MOVES = 4

MELEE_RANGE = 1.0
"""Weapons that reach less far, edge to edge, are used standing beside the target."""

# Rows of `real`: what changes in a battle.
X = 0
Y = 1
HEALTH = 2
SHIELD = 3
COOLDOWN = 4  # loops until the next swing may begin
ENERGY = 5
WINDUP = 6  # loops until the swing in progress takes effect
PENDING = 7  # loops until the missile, the beam or the second hit lands
ORDER_X = 8
ORDER_Y = 9
GOAL_X = 10  # where the unit walks in this loop
GOAL_Y = 11
REACH = 12  # how near to the goal it wants to get, centre to centre
PREVIOUS = 13  # health + shield one environment step ago, 0 once dead
AIM_X = 14  # centre of the beam on its way
AIM_Y = 15
AIM_ACROSS_X = 16  # unit vector along the beam's sweep
AIM_ACROSS_Y = 17
PACE = 18  # cells a loop, of a unit that has to speed up
NUM_REALS = 19

# Rows of `integer`.
ALIVE = 0
ORDER = 1
TARGET = 2  # unit under attack or under treatment, -1 for none
SWING = 3  # target of the swing in progress, -1 for none
PENDING_TARGET = 4  # who the missile, beam or second hit is for, -1 for none
MOVING = 5
ANCHORED = 6  # stands and fights: not pushed aside
SIDE = 7  # which way it walks around obstacles (sign: left positive) and for how many more loops
QUIET = 8  # loops since the last damage
HELP = 9  # loop from which the unit may call for help again
PENDING_HITS = 10  # hits of the swing that have not landed yet
STRIKE = 11  # unit at which it let go a hit in this loop, -1 for none
HEALING = 12  # unit that it heals in this loop, -1 for none
BURST = 13  # 1 if it exploded in this loop
# Two notes on the battle as a whole, in the column of the first unit.
OVERLAP = 14  # 1 if units may overlap
DYING = 15  # 1 if anybody has no health left
SOLID = 16  # 1 if it does not yield to the team; the next row: to the enemies
NUM_INTEGERS = 18

# Rows of `body` float64 [P, U], scratch: where the living are.
HERE_X = 0
BODY_X = 1  # the same, with every layer on a map of its own
BODY_Y = 2
STRIKERS = 3  # of an agent: how many of the computer's units are in mid-swing at it
LINE_X = 4  # scratch: the same bodies in the order in which they are pushed apart
LINE_Y = 5
LINE_RADIUS = 6
NUM_BODIES = 7

# Orders.
IDLE = 0
MOVE = 1
ATTACK = 2
HEAL = 3
# Orders of the computer, who looks for targets.
MARCH = 4  # attack-move: walk to a point, fight what comes into range
HUNT = 5  # attack-move towards the nearest opponent, wherever it is
GUARD = 6  # stand, and fight what comes into range

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
DELIVERY = 10  # how hits travel, see below
HIT_DELAY = 11  # loops between the hits of one swing
REGENERATION = 12  # health a loop
COOLDOWN_SCALE = 13
SHIELD_SCALE = 14
TYPE_BIT = 15
SPAWN_X = 16
SPAWN_Y = 17
ENERGY_START = 18
HITS = 19  # hits of one swing
SPLASH = 20  # radius of its explosion, 0 for none
LAYER = 21  # only units of one layer collide: GROUND_LAYER, AIR_LAYER or CLIMBER_LAYER
ACCELERATION = 22  # cells a loop, gained in each loop; 0: full speed at once
HEALABLE = 23
HEALER = 24
ENERGY_MAX = 25
BLAST_ON_DEATH = 26
ENERGY_SCALE = 27  # what the state divides the energy by, 0: the state shows the cooldown instead
ELBOW_ROOM = 28  # distance from which nobody of its layer touches it
NUM_TRAITS = 29

# Deliveries.
INSTANT = 0
MISSILE = 1
BEAM = 2
SUICIDE = 3
TREATMENT = 4

# Layers.
GROUND_LAYER = 0
AIR_LAYER = 1
CLIMBER_LAYER = 2

NO_HIT = -1.0
"""Entry of `hit` for a target that the weapon cannot be used on."""

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
HEALERS = 21  # 1 on maps where SMAC lets medivacs heal and does not count them for the verdict
ROUTED = 22  # 1 if walkers look up their way around cliffs
CONTROLLED = 23  # 1 if the enemies are given actions instead of orders of the computer
ENEMY_ORDER = 24  # MARCH, HUNT or GUARD
TRACED = 25  # 1 if every loop is written down
ZERO_SUM = 26  # 1 if the enemies' reward is the team's, negated
SHIELD_DELAY = 27  # loops without damage before a shield regenerates
MIRROR_X = 28  # 1 if the enemies see the map mirrored along x, 0 if along y
REGENERATES = 29  # 1 if anybody has a shield, energy, or health that grows back
BLASTS = 30  # 1 if anybody explodes when killed
NUM_NUMBERS = 31

# Entries of `weight` float64: lengths, rewards and the game's constants.
MOVE_AMOUNT = 0
MARCH_X = 1  # one end of the segment on which the march point is drawn
MARCH_Y = 2
MARCH_TO_X = 3  # the other end
MARCH_TO_Y = 4
ARRIVAL = 5  # distance from the march point at which a unit stops pressing on
REWARD_DEATH = 6
REWARD_WIN = 7
REWARD_DEFEAT = 8
REWARD_NEGATIVE = 9
REWARD_DIVISOR = 10
JITTER = 11  # largest random offset of a unit from its slot, along each axis
NOISE_LOW = 12  # bounds of the random delay of a weapon cycle
NOISE_WIDTH = 13
MISSILE_SPEED = 14  # cells a loop; 0: missiles arrive at once
MINIMUM_DAMAGE = 15
RANGE_SLOP = 16
SHIELD_REGENERATION = 17
ENERGY_REGENERATION = 18
HEAL_RATE = 19  # health a loop
HEAL_COST = 20  # energy for a point of health
HEAL_START = 21  # energy needed to begin
HEAL_SCAN = 22  # edge-to-edge distance within which a computer healer looks for the hurt
NUM_WEIGHTS = 23

# Codes of `cell` uint8 [32, 32], indexed [x, y].
CLIFF = 0
EDGE = 1  # pathable, next to a cliff or the border
GROUND = 2  # pathable, like all eight neighbours

STRAIGHT = 255
"""Entry of `route` where a walker can go straight."""

# Rows of `trace` float32 [B, L, T, U]: one game loop as a picture needs it.
TRACE_X = 0
TRACE_Y = 1
TRACE_HEALTH = 2
TRACE_SHIELD = 3
TRACE_ENERGY = 4
TRACE_ALIVE = 5
TRACE_STRIKE = 6  # unit at which a hit was let go in this loop, -1 for none
TRACE_FLIGHT = 7  # unit that a missile is on its way to, -1 for none
TRACE_LEFT = 8  # loops until that missile lands
TRACE_HEALING = 9  # unit that is being healed, -1 for none
TRACE_BURST = 10  # 1 if the unit exploded in this loop
TRACE_COOLDOWN = 11
NUM_TRACES = 12
