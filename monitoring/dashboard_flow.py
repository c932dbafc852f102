"""The lower half of the pipeline's dashboard: queues, the wire, the books.

Read by `monitoring.dashboard_pipeline`.
"""

from monitoring.dashboard_layout import OF_AGENT, OF_RUN, ORANGE, RATE, Query, Section, chart


def _filled(role: str, selector: str) -> str:
    used = f"max by (queue) (dm2_{role}_queue_bytes{{{selector}}}"
    return f"{used} / dm2_{role}_queue_limit_bytes{{{selector}}})"


def _used(role: str, selector: str) -> Query:
    return Query(f"sum by (queue) (dm2_{role}_queue_bytes{{{selector}}})", f"{role}: {{{{queue}}}}")


def _rate_of(name: str, legend: str) -> Query:
    return Query(f"sum(rate({name}{{{OF_RUN}}}[{RATE}]))", legend)


def _refused(name: str, legend: str) -> Query:
    return Query(f"60 * sum(rate({name}{{{OF_RUN}}}[{RATE}]))", legend)


def _total(name: str, legend: str) -> Query:
    return Query(f"sum({name}{{{OF_RUN}}})", legend)


QUEUES = Section(
    "Queues",
    (
        chart(
            "Fullest queue of an actor",
            "percentunit",
            "Used part of its bound; at 1 the actor stops until there is room.",
            Query(_filled("actor", OF_RUN), "{{queue}}"),
            minimum=0,
            steps=((0.9, ORANGE),),
            width=12,
        ),
        chart(
            "Fullest queue of a learner",
            "percentunit",
            "Used part of its bound; at 1 whoever fills it waits.",
            Query(_filled("learner", OF_AGENT), "{{queue}}"),
            minimum=0,
            steps=((0.9, ORANGE),),
            width=12,
        ),
        chart(
            "Bytes in queues",
            "bytes",
            "Of all actors and of the chosen learners together.",
            _used("actor", OF_RUN),
            _used("learner", OF_AGENT),
            decimals=1,
            width=12,
        ),
        chart(
            "Least room in ZeroMQ",
            "bytes",
            "Bound of the queues inside ZeroMQ, by queue; how full they are nobody can see.",
            *(
                Query(
                    f"min by (queue) (dm2_{role}_queue_limit_bytes{{{OF_RUN}}} "
                    f"unless on (instance, queue) dm2_{role}_queue_bytes{{{OF_RUN}}})",
                    f"{role}: {{{{queue}}}}",
                )
                for role in ("actor", "learner")
            ),
            Query(f"min by (queue) (dm2_head_queue_limit_bytes{{{OF_RUN}}})", "head: {{queue}}"),
            width=12,
            decimals=1,
            logarithmic=True,
        ),
    ),
)

WIRE = Section(
    "The wire",
    (
        chart(
            "Bytes per second",
            "Bps",
            "Trajectories into the learners, and parameters out: once per version, however many "
            "actors listen.",
            _rate_of("dm2_learner_received_bytes_total", "trajectories"),
            _rate_of("dm2_learner_published_bytes_total", "parameters"),
        ),
        chart(
            "Messages per second",
            "none",
            "From actors to learners, of every kind.",
            _rate_of("dm2_learner_received_messages_total", "messages"),
        ),
        chart(
            "Time to commit",
            "s",
            "Putting an iteration on disk and publishing it, by agent. "
            "It goes on beside the training; only what does not fit shows there as checkpoint.",
            Query(
                f"sum by (agent) (rate(dm2_learner_commit_seconds_total{{{OF_AGENT}}}[{RATE}])) / "
                f"(sum by (agent) (rate(dm2_learner_iterations_total{{{OF_AGENT}}}[{RATE}])) > 0)",
                "agent {{agent}}",
            ),
        ),
    ),
)

BOOKS = Section(
    "The books",
    (
        chart(
            "Trajectories per second",
            "none",
            "Produced by actors, received and trained on by learners, settled: the actor knows "
            "that it may forget them. In a steady run these four are equal. Resent: copies after a "
            "learner or the wire was gone.",
            _rate_of("dm2_actor_trajectories_produced_total", "produced"),
            _rate_of("dm2_learner_trajectories_received_total", "received"),
            _rate_of("dm2_learner_trajectories_trained_total", "trained"),
            _rate_of("dm2_actor_trajectories_settled_total", "settled"),
            _rate_of("dm2_learner_trajectories_resent_total", "resent"),
        ),
        chart(
            "Trajectories of the whole run",
            "locale",
            "The head's totals, of living and dead processes: produced is trained, dropped, lost "
            "or under way. In doubt, of what is under way: its actor ended, and it is lost unless "
            "a learner has it. The ledger error on the overview is what is missing.",
            _total("dm2_head_trajectories_produced_total", "produced"),
            _total("dm2_head_trajectories_trained_total", "trained"),
            _total("dm2_head_trajectories_dropped_total", "dropped"),
            _total("dm2_head_lost_total", "lost"),
            _total("dm2_head_trajectories_in_doubt", "in doubt"),
            decimals=0,
        ),
        chart(
            "Dropped by learners",
            "none",
            "In a minute, by reason; docs/delivery.md explains them.",
            Query(
                "60 * sum by (reason) "
                f"(rate(dm2_learner_trajectories_dropped_total{{{OF_AGENT}}}[{RATE}])) > 0",
                "{{reason}}",
            ),
            Query(
                f"60 * sum(rate(dm2_learner_trajectories_dropped_total{{{OF_AGENT}}}[{RATE}]))",
                "all",
            ),
            decimals=0,
            reaches=1,
        ),
        chart(
            "Trajectories under way",
            "none",
            "Unsettled: kept by actors until a checkpoint contains their effect. Buffered: "
            "received by learners, not yet trained on.",
            Query(f"sum(dm2_actor_trajectories_unsettled{{{OF_RUN}}})", "unsettled"),
            Query(f"sum(dm2_learner_trajectories_buffered{{{OF_RUN}}})", "buffered"),
            decimals=0,
        ),
        chart(
            "Leases that ended",
            "none",
            "Tickets in a minute. Fulfilled: played and delivered. Reissued: the actor was "
            "gone or too late, somebody else plays it.",
            Query(
                f"60 * sum by (outcome) (rate(dm2_head_leases_total{{{OF_RUN}}}[{RATE}]))",
                "{{outcome}}",
            ),
            decimals=0,
        ),
        chart(
            "Refused at the door",
            "none",
            "In a minute: messages that were no messages, peers that may not take "
            "part, peers banned, keys unknown. All 0 in a run among friends.",
            _refused("dm2_messages_refused_total", "messages"),
            _refused("dm2_peers_refused_total", "peers refused"),
            _refused("dm2_peers_banned_total", "peers banned"),
            _refused("dm2_keys_refused_total", "keys"),
            decimals=0,
            reaches=1,
            steps=((1, ORANGE),),
        ),
    ),
)
