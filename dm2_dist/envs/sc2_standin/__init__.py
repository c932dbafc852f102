"""A program that stands in for StarCraft II; it is not StarCraft II.

It is started like the game, listens like the game and speaks the game's protocol, so that the real
SMAC and PySC2 play whole episodes against it. The battles behind it are those of the embedded
simulator (`dm2_dist.envs.skirmish`). With it a cluster run can be rehearsed, and every failure of
the game provoked, without the game. Results obtained with it say nothing about StarCraft II.

Route: `tree` installs it, `__main__` starts it, `server` listens, `wire` frames the bytes,
`session` answers requests, `game` holds the units, `picture` describes them, `fault` makes trouble.
"""

NOTICE = "dm2-dist stand-in: this is NOT StarCraft II; battles are those of the embedded simulator"
"""Said wherever somebody could take it for the game."""
