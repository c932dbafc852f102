"""Real StarCraft II: where it is installed, how its client code is imported, how games are run.

Importing this package, or any module of it but those that run in a worker, imports no SMAC.
"""
