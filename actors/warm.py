"""Imported once by the process that actors are forked from: libraries loaded, kernels compiled.

32 actors then share these pages and start at once instead of compiling 32 times.
"""

import numpy as np

import actors.main  # noqa: F401
from dm2_dist.envs import make
from dm2_dist.inference import StackedPolicy

_battles = make.make_batch("skirmish", "3m", 1)
_battles.reset()
_battles.step(_battles.available_actions.argmax(axis=2))

_INPUTS, _HIDDEN, _ACTIONS = 11, 16, 6
_SHAPES = {
    "input_norm.weight": (_INPUTS,),
    "input_norm.bias": (_INPUTS,),
    "hidden_1.weight": (_HIDDEN, _INPUTS),
    "hidden_1.bias": (_HIDDEN,),
    "norm_1.weight": (_HIDDEN,),
    "norm_1.bias": (_HIDDEN,),
    "hidden_2.weight": (_HIDDEN, _HIDDEN),
    "hidden_2.bias": (_HIDDEN,),
    "norm_2.weight": (_HIDDEN,),
    "norm_2.bias": (_HIDDEN,),
    "core.weight_ih": (3 * _HIDDEN, _HIDDEN),
    "core.weight_hh": (3 * _HIDDEN, _HIDDEN),
    "core.bias_ih": (3 * _HIDDEN,),
    "core.bias_hh": (3 * _HIDDEN,),
    "core_norm.weight": (_HIDDEN,),
    "core_norm.bias": (_HIDDEN,),
    "head.weight": (_ACTIONS, _HIDDEN),
    "head.bias": (_ACTIONS,),
}
"""Of any policy: the kernels are compiled once for all sizes."""
StackedPolicy([{name: np.zeros(shape, np.float32) for name, shape in _SHAPES.items()}])
