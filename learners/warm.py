"""Imported once by the process that learners on the CPU are forked from: torch, and all of it.

A learner that was killed is then back at once instead of after the seconds that the imports take.
The kernels are compiled here, or loaded from disk, so that no learner waits for them.
"""

import torch
import torch.fx.experimental.symbolic_shapes  # else the first backward pass does, for half a second

import learners.main  # noqa: F401
from dm2_dist.comms import slice_body
from dm2_dist.functional import preparation

# Threads of the arithmetic would not survive the fork; each learner sets its own number of them.
torch.set_num_threads(1)
# Every learner does this first.
torch.set_deterministic_debug_mode("error")
preparation.compile_kernels()
slice_body.prepare()
