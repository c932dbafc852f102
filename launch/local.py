"""`python launch/local.py --actors 32` is `dm2 local --actors 32`, from any directory.

Kept empty at the top: spawned children run this file again.
"""

if __name__ == "__main__":
    import sys
    from pathlib import Path

    if not __package__:
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from launch.cli import main

    sys.exit(main(["local", *sys.argv[1:]]))
