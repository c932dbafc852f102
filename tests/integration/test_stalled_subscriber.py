"""A subscriber that does not read for longer than heartbeats allow must live to read on."""

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 30.0
# Heartbeats a hundred times as fast as in earnest, so that a moment without reading is too long.
FAST = """
import sys, time, zmq
from dm2_dist.comms import endpoint
endpoint._EVERYWHERE |= {
    zmq.HEARTBEAT_IVL: 20, zmq.HEARTBEAT_TIMEOUT: 100, zmq.HEARTBEAT_TTL: 100,
    zmq.RECONNECT_IVL: 10, zmq.RECONNECT_IVL_MAX: 20,
}
from dm2_dist.comms.messages import Beacon
from dm2_dist.comms.sockets import Publisher, Subscriber, close_context
beacon, body = Beacon(agent=0, version=1, digest=""), bytes(1_000_000)
"""
SUBSCRIBER = (
    FAST
    + """
subscriber = Subscriber()
subscriber.connect(sys.argv[1])
def read(least):
    count, deadline = 0, time.monotonic() + 20
    while count < least:
        assert time.monotonic() < deadline
        count += subscriber.recv() is not None
read(1)
for line in sys.stdin:
    read(50)  # more than can have waited
    print("read", flush=True)
subscriber.close()
close_context()
"""
)
PUBLISHER = (
    FAST
    + """
publisher = Publisher(sys.argv[1])
print(publisher.address, flush=True)
while True:
    publisher.publish(beacon, body)
    time.sleep(0.002)
"""
)


@pytest.fixture
def start():
    started = []

    def run(program, address):
        child = subprocess.Popen(
            [sys.executable, "-c", program, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield run
    for child in started:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_it_reads_on_after_a_pause_also_when_the_publisher_was_killed(start, transport, tmp_path):
    wanted = f"ipc://{tmp_path}/p" if transport == "ipc" else "tcp://127.0.0.1:0"
    publisher = start(PUBLISHER, wanted)
    address = publisher.stdout.readline().strip()
    subscriber = start(SUBSCRIBER, address)
    for _ in range(2):
        time.sleep(0.5)  # five times what a heartbeat may take; nothing waits for this to be enough
        assert read_on(subscriber)
    subscriber.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    publisher.kill()
    publisher.wait(DEADLINE_SECONDS)
    assert start(PUBLISHER, address).stdout.readline().strip() == address
    subscriber.send_signal(signal.SIGCONT)
    assert read_on(subscriber)
    subscriber.communicate(timeout=DEADLINE_SECONDS)
    assert subscriber.returncode == 0


def read_on(subscriber):
    subscriber.stdin.write("\n")
    subscriber.stdin.flush()
    return subscriber.stdout.readline() == "read\n"
