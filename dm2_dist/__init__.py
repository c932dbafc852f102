"""DM2 (Wang et al., AAAI 2023) as a multi-process actor-learner system: the library part.

What others may import lives here: pure functions and data, which start nothing.
"""

__version__ = "0.1.0"
