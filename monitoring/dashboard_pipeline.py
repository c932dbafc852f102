"""The dashboard of what waits for what: time budgets, lag, queues, the books.

Read by `monitoring.dashboards`.
"""

from monitoring import catalogue
from monitoring.dashboard_flow import BOOKS, QUEUES, WIRE
from monitoring.dashboard_layout import (
    BLUE,
    GREEN,
    OF_AGENT,
    OF_RUN,
    ORANGE,
    RATE,
    RED,
    YELLOW,
    Dashboard,
    Panel,
    Query,
    Section,
    chart,
    number,
)
from monitoring.dashboard_pace import ACTORS, BUSY, LEARNERS, PACE, actor_share, pace_words

_PHASE_COLOURS = {
    "play": GREEN,
    "send": ORANGE,
    "settle": "purple",
    "wait_ticket": "#8e8e8e",
    "wait_parameters": "light-orange",
    "wait_game": RED,
    "wait_data": "#8e8e8e",
    "prepare": "light-blue",
    "discriminator": "purple",
    "ppo": BLUE,
    "checkpoint": ORANGE,
    "start": YELLOW,
    "other": "dark-red",
}
"""Waiting for work is grey, work is coloured."""


def _late(name: str, quantile: float) -> str:
    buckets = f"rate(dm2_learner_{name}_lag_versions_bucket{{{OF_AGENT}}}[{RATE}])"
    return f"ceil(histogram_quantile({quantile}, sum by (le) ({buckets})))"


def _mean_lag(name: str) -> Query:
    rates = [
        f"sum(rate(dm2_learner_{name}_lag_versions_{part}{{{OF_AGENT}}}[{RATE}]))"
        for part in ("sum", "count")
    ]
    return Query(" / ".join(rates), "mean")


_NOW = Section(
    "Now",
    (
        number(
            "Who sets the pace?",
            "none",
            "The side that is busy all the time; the other waits for it. The terminal says the "
            "same in a sentence, and docs/watching.md what to do about it.",
            PACE,
            width=8,
            mappings=tuple((code, *pace_words(code)) for code in range(16)),
        ),
        number(
            "Learners work",
            "percentunit",
            "Time that the busiest learner does not wait for trajectories.",
            f"max({BUSY})",
            width=4,
            decimals=0,
            minimum=0,
            maximum=1,
            base=BLUE,
        ),
        number(
            "Actors play",
            "percentunit",
            "Of the time of all actors together.",
            actor_share("play"),
            width=4,
            decimals=0,
            minimum=0,
            maximum=1,
            base=BLUE,
        ),
        number(
            "Own lag",
            "none",
            "Versions between the policy that played and the one that learns from it; 95 of 100 "
            "tickets are no older.",
            _late("policy", 0.95),
            width=4,
            decimals=0,
            base=BLUE,
        ),
        number(
            "Lag of the others",
            "none",
            "The same of the other agents' policies that took part in the battle.",
            _late("peer", 0.95),
            width=4,
            decimals=0,
            base=BLUE,
        ),
    ),
)


def _budget(title: str, description: str, role: str, seconds: str) -> Panel:
    metric = f"dm2_{role}_phase_seconds_total"
    phases = next(row.values for row in catalogue.TABLE if row.name == metric)
    query = Query(
        f"sum by (phase) ({seconds}) / ignoring (phase) group_left sum({seconds})", "{{phase}}"
    )
    return chart(
        title,
        "percentunit",
        description,
        query,
        width=12,
        height=9,
        minimum=0,
        maximum=1,
        stacked=True,
        colours={phase: _PHASE_COLOURS[phase] for phase in phases},
    )


_TIME = Section(
    "Where the time goes",
    (
        _budget(
            "Time of the actors",
            "All actors together. wait_ticket: nothing to play, the learners set the pace. "
            "wait_parameters: the next version is not there yet. wait_game: the game starts. "
            "send and settle: handing over trajectories. play is the work.",
            catalogue.ACTOR,
            ACTORS,
        ),
        _budget(
            "Time of the learners",
            "The chosen agents together. wait_data: no trajectories, the actors set the pace. "
            "prepare, discriminator, ppo are the work; checkpoint is handing its outcome over, "
            "start the time before the first.",
            catalogue.LEARNER,
            LEARNERS,
        ),
        chart(
            "How busy each learner is",
            "percentunit",
            "Time not spent waiting for trajectories. One curve far above the others: look at "
            "what shares its core or device.",
            Query(
                "1 - sum by (agent) "
                f'(rate(dm2_learner_phase_seconds_total{{{OF_AGENT},phase="wait_data"}}[{RATE}]))'
                f" / sum by (agent) ({LEARNERS})",
                "agent {{agent}}",
            ),
            minimum=0,
            maximum=1,
        ),
        chart(
            "How much actors play",
            "percentunit",
            "The busiest, the median and the idlest actor. A wide gap: some share cores, or sit "
            "behind a slow network.",
            *(
                Query(
                    f"quantile({quantile}, sum by (actor) (rate(dm2_actor_phase_seconds_total"
                    f'{{{OF_RUN},phase="play"}}[{RATE}])) / sum by (actor) ({ACTORS}))',
                    legend,
                )
                for quantile, legend in ((1, "busiest"), (0.5, "median"), (0, "idlest"))
            ),
            minimum=0,
            maximum=1,
        ),
        chart(
            "Tickets not yet done",
            "none",
            "Mean of a minute. Leased: an actor plays it. Waiting: nobody does. Waiting always 0 "
            "and actors that wait: the schedule gives out no more.",
            Query(
                f"sum by (state) (avg_over_time(dm2_head_tickets{{{OF_RUN}}}[{RATE}]))",
                "{{state}}",
            ),
            stacked=True,
            colours={"leased": GREEN, "waiting": YELLOW},
        ),
    ),
)

_LAG = Section(
    "How old is what is learned from?",
    (
        chart(
            "Lag of the own policy",
            "none",
            "Versions. sync: 0. pipelined: 1. async: at most asynchrony.max_lag.",
            _mean_lag("policy"),
            Query(_late("policy", 0.95), "95 of 100 are no older"),
            Query(f"max(dm2_run_max_lag_versions{{{OF_RUN}}})", "allowed"),
            colours={"allowed": ORANGE},
        ),
        chart(
            "Lag of the other agents' policies",
            "none",
            "The team mates in the battle: how far behind this learner's version they played.",
            _mean_lag("peer"),
            Query(_late("peer", 0.95), "95 of 100 are no older"),
        ),
        chart(
            "Age of the parameters that actors hold",
            "none",
            "Versions between the newest and the one in the newest ticket of the actor that is "
            "furthest behind, by agent; both are up to 5 s old. Climbing: an actor hangs.",
            Query(
                f"clamp_min(max by (agent) (dm2_learner_policy_version{{{OF_AGENT}}}) - on (agent) "
                f"min by (agent) (dm2_actor_policy_version{{{OF_AGENT}}}), 0)",
                "agent {{agent}}",
            ),
            decimals=0,
        ),
    ),
)

PIPELINE = Dashboard(
    "dm2-pipeline",
    "dm2 · Pipeline",
    "What waits for what: time budgets, lag, queues, books.",
    (_NOW, _TIME, _LAG, QUEUES, WIRE, BOOKS),
)
