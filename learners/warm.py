"""Imported once by the process that learners on the CPU are forked from: torch, and all of it.

A learner that was killed is then back at once instead of after the seconds that the imports take.
"""

import torch

import learners.main  # noqa: F401

# Every learner does this first. It imports as much again as `import torch` does.
torch.use_deterministic_algorithms(True)
