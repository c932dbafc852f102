"""The learner's entry point, importable without torch: the launcher names it, only the child runs it."""

from pathlib import Path


def run(agent: int, head: str, listen: tuple[str, str], root: Path, incarnation: int) -> None:
    """See `learners.main.run`."""
    from learners import main

    main.run(agent, head, listen, root, incarnation)
