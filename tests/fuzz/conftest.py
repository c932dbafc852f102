"""The real head, intake and session, each alone with made-up peers."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
