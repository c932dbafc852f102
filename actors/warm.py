"""Imported once by the process that actors are forked from: libraries loaded, simulator compiled.

32 actors then share these pages and start at once instead of compiling 32 times.
"""

import actors.main  # noqa: F401
from dm2_dist.envs import make

_battles = make.make_batch("skirmish", "3m", 1)
_battles.reset()
_battles.step(_battles.available_actions.argmax(axis=2))
