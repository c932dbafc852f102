"""How many bytes ZeroMQ may hold for a process at most: messages times the largest message.

High-water marks count messages, per connection and direction; what really waits is bounded far
lower, by credits and by what was asked for. Nobody can look inside, so only the bounds are known.
Shown as metrics by every role.
"""

import zmq

from dm2_dist.comms.codec import BODY_LIMIT, CONTROL_LIMIT, HEADER_LIMIT, PARAMETERS_LIMIT
from dm2_dist.comms.endpoint import DEALER, PUBLISHER, ROUTER, SUBSCRIBER


def of_actor(num_agents: int) -> dict[str, int]:
    """Bytes by queue of `catalogue.ACTOR_QUEUES`, for an actor of K learners."""
    received = SUBSCRIBER[zmq.RCVHWM] * SUBSCRIBER[zmq.MAXMSGSIZE]
    return {
        "to_head": DEALER[zmq.SNDHWM] * CONTROL_LIMIT,
        "to_learners": num_agents * DEALER[zmq.SNDHWM] * (HEADER_LIMIT + BODY_LIMIT),
        "from_learners": num_agents * DEALER[zmq.RCVHWM] * DEALER[zmq.MAXMSGSIZE],
        "published": num_agents * received,
    }


def of_learner(num_actors: int) -> dict[str, int]:
    """Bytes by queue of `catalogue.LEARNER_QUEUES`, with so many actors connected."""
    return {
        "from_actors": num_actors * ROUTER[zmq.RCVHWM] * ROUTER[zmq.MAXMSGSIZE],
        "publications": num_actors * PUBLISHER[zmq.SNDHWM] * (HEADER_LIMIT + PARAMETERS_LIMIT),
    }


def of_head(num_peers: int) -> dict[str, int]:
    """Bytes by queue of `catalogue.HEAD_QUEUES`, with so many actors and learners connected."""
    return {
        "from_peers": num_peers * ROUTER[zmq.RCVHWM] * ROUTER[zmq.MAXMSGSIZE],
        "to_peers": num_peers * ROUTER[zmq.SNDHWM] * CONTROL_LIMIT,
    }
