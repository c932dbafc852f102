"""The compiled part of the simulator: everything that a game loop touches.

These modules import nothing of the project but each other, so a digest of this folder names the
machine code.
"""
