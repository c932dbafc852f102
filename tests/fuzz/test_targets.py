"""A thousand inputs at every door; `tests/fuzz/run.py` throws as many as there is time for."""

import logging
import random

import pytest
from targets import TARGETS

from dm2_dist.comms.sockets import close_context

INPUTS = {"counter file": 150}


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_raises(name, tmp_path):
    logging.disable(logging.CRITICAL)
    target = TARGETS[name](tmp_path)
    try:
        for number in range(INPUTS.get(name, 1500)):
            target.feed(random.Random(f"suite/{number}"))
        target.check()
    finally:
        logging.disable(logging.NOTSET)
        target.close()
        close_context()
