"""The learner's entry point, importable without torch: only the child needs that."""

from pathlib import Path


def run(agent: int, head: str, listen: tuple[str, str], root: Path, incarnation: int) -> None:
    """See `learners.main.run`."""
    from learners import main

    main.run(agent, head, listen, root, incarnation)
