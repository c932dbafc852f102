"""The dashboard to open first: is it learning, how fast, is it healthy.

Read by `monitoring.dashboards`.
"""

from monitoring import catalogue
from monitoring.dashboard_layout import (
    BLUE,
    GREEN,
    OF_AGENT,
    OF_RUN,
    ORANGE,
    RATE,
    RED,
    TEXT,
    YELLOW,
    Dashboard,
    Query,
    Section,
    chart,
    number,
)

_STATE_COLOURS = (BLUE, GREEN, ORANGE, YELLOW, TEXT, RED)

_STATE = " + ".join(
    f'{code} * sum(dm2_run_state{{{OF_RUN},state="{state}"}})'
    for code, state in enumerate(catalogue.RUN_STATES)
)
_DONE = f"max(dm2_head_env_steps_total{{{OF_RUN}}})"
_WANTED = f"max(dm2_head_env_steps_target{{{OF_RUN}}})"
_PACE = f"max(rate(dm2_head_env_steps_total{{{OF_RUN}}}[{RATE}]))"

_NOW = Section(
    "Now",
    (
        number(
            "State",
            "none",
            "What the run does, or did when it was last heard of. Degraded: some actors are gone.",
            _STATE,
            mappings=tuple(
                (code, state, colour)
                for code, (state, colour) in enumerate(
                    zip(catalogue.RUN_STATES, _STATE_COLOURS, strict=True)
                )
            ),
        ),
        number(
            "Newest win rate",
            "percentunit",
            "Share of battles won in the newest greedy evaluation.",
            f"max(dm2_win_rate{{{OF_RUN}}})",
            decimals=0,
            minimum=0,
            maximum=1,
            base=ORANGE,
            steps=((0.5, YELLOW), (0.8, GREEN)),
        ),
        number(
            "Newest return",
            "none",
            "Mean reward of an episode in the newest evaluation; in StarCraft maps 20 is a won "
            "battle.",
            f"max(dm2_eval_return_mean{{{OF_RUN}}})",
            decimals=1,
            base=BLUE,
        ),
        number(
            "Env steps/s",
            "locale",
            "Training steps that the learners have committed, mean of a minute. 0 "
            "means that nothing is learned.",
            _PACE,
            decimals=0,
            base=RED,
            steps=((1, GREEN),),
        ),
        number(
            "Progress",
            "percentunit",
            "Training steps committed, of those the run shall make.",
            f"{_DONE} / {_WANTED}",
            decimals=0,
            minimum=0,
            maximum=1,
            base=BLUE,
        ),
        number(
            "Time left",
            "s",
            "Until the run ends, at its present pace; empty before it is known.",
            f"max(dm2_head_left_seconds{{{OF_RUN}}})",
            decimals=1,
            base=BLUE,
        ),
        number(
            "Actors",
            "none",
            "Actors that the head hears of, playing or waiting for a ticket.",
            f"sum(dm2_head_actors{{{OF_RUN}}})",
            decimals=0,
            base=RED,
            steps=((1, GREEN),),
        ),
        number(
            "Ledger error",
            "none",
            "Trajectories produced minus trained, dropped, lost and in flight. Anything but 0 is "
            "a bug of the program.",
            f"max(abs(dm2_head_ledger_error{{{OF_RUN}}}))",
            decimals=0,
            base=GREEN,
            steps=((1, RED),),
        ),
    ),
)

_LEARNING = Section(
    "Is it learning?",
    (
        chart(
            "Win rate",
            "percentunit",
            "Greedy evaluation: the newest policies play their best moves on fixed seeds. "
            "Training: the sampled episodes of an iteration, usually somewhat lower. "
            "Demonstrators: of those whom the run imitates, dm2 only.",
            Query(f"max(dm2_win_rate{{{OF_RUN}}})", "evaluation"),
            Query(f"avg(dm2_learner_train_win_rate{{{OF_RUN}}})", "training"),
            Query(f"max(dm2_head_demonstrators_win_rate{{{OF_RUN}}})", "demonstrators"),
            width=12,
            minimum=0,
            maximum=1,
            colours={"evaluation": GREEN, "training": BLUE, "demonstrators": ORANGE},
        ),
        chart(
            "Return of an episode",
            "none",
            "The environment's own reward, without the discriminators' part.",
            Query(f"max(dm2_eval_return_mean{{{OF_RUN}}})", "evaluation"),
            Query(f"avg(dm2_learner_train_return_mean{{{OF_RUN}}})", "training"),
            width=12,
            decimals=1,
            colours={"evaluation": GREEN, "training": BLUE},
        ),
    ),
)

_SPEED = Section(
    "How fast?",
    (
        chart(
            "Env steps per second",
            "locale",
            "Played: by all actors, every kind of ticket, evaluations too. Committed: trained on "
            "by every learner and safe on disk.",
            Query(f"max(rate(dm2_head_played_env_steps_total{{{OF_RUN}}}[{RATE}]))", "played"),
            Query(f"max(rate(dm2_head_env_steps_total{{{OF_RUN}}}[{RATE}]))", "committed"),
            decimals=0,
            colours={"played": BLUE, "committed": GREEN},
        ),
        chart(
            "Time of an iteration",
            "s",
            "Mean of a minute, learner by learner. The slowest one sets the pace.",
            Query(
                "1 / (sum by (agent) "
                f"(rate(dm2_learner_iterations_total{{{OF_AGENT}}}[{RATE}])) > 0)",
                "agent {{agent}}",
            ),
        ),
        chart(
            "Actors by state",
            "none",
            "Playing a ticket, or waiting for one, mean of a minute. Many that wait: the learners "
            "set the pace.",
            Query(
                f"sum by (state) (avg_over_time(dm2_head_actors{{{OF_RUN}}}[{RATE}]))", "{{state}}"
            ),
            stacked=True,
            colours={"playing": GREEN, "waiting": YELLOW},
        ),
    ),
)

_HEALTH = Section(
    "Is it healthy?",
    (
        chart(
            "Age of the policies that played",
            "none",
            "Versions behind the learner; 95 of 100 tickets are no older. The schedule says what "
            "is allowed: sync 0, pipelined 1, async asynchrony.max_lag.",
            Query(
                "ceil(histogram_quantile(0.95, sum by (agent, le) "
                f"(rate(dm2_learner_policy_lag_versions_bucket{{{OF_AGENT}}}[{RATE}]))))",
                "agent {{agent}}",
            ),
            Query(f"max(dm2_run_max_lag_versions{{{OF_RUN}}})", "allowed"),
            decimals=0,
            colours={"allowed": ORANGE},
        ),
        chart(
            "Trajectories dropped or lost",
            "none",
            "In a minute, by reason. Duplicates after a restart are harmless: the tickets "
            "were played twice and counted once.",
            Query(
                "60 * sum by (reason) "
                f"(rate(dm2_head_trajectories_dropped_total{{{OF_RUN}}}[{RATE}])) > 0",
                "dropped: {{reason}}",
            ),
            Query(
                f"60 * sum by (cause) (rate(dm2_head_lost_total{{{OF_RUN}}}[{RATE}])) > 0",
                "lost: {{cause}}",
            ),
            Query(
                f"60 * sum(rate(dm2_head_trajectories_dropped_total{{{OF_RUN}}}[{RATE}]))",
                "dropped, all",
            ),
            decimals=0,
            reaches=1,
        ),
        chart(
            "Processes started again",
            "none",
            "Since the run began, by role. A curve that keeps climbing: the log of that role says "
            "why.",
            Query(
                f"sum by (role) (dm2_process_restarts_total{{{OF_RUN}}})",
                "{{role}}",
            ),
            decimals=0,
            reaches=1,
            steps=((5, ORANGE),),
        ),
    ),
)

_COMPARISON = Section(
    "Every run that Prometheus remembers",
    (
        chart(
            "Win rate by run",
            "percentunit",
            "Newest evaluation of every run, whichever is chosen above. Widen the time range to "
            "see older ones; dm2 report compares them properly, over env steps.",
            Query("max by (run_id) (dm2_win_rate)", "{{run_id}}"),
            width=12,
            minimum=0,
            maximum=1,
        ),
        chart(
            "Env steps per second by run",
            "locale",
            "Committed, mean of a minute.",
            Query(
                f"max by (run_id) (rate(dm2_head_env_steps_total[{RATE}]))",
                "{{run_id}}",
            ),
            width=12,
            decimals=0,
        ),
    ),
)

OVERVIEW = Dashboard(
    "dm2-overview",
    "dm2 · Overview",
    "Is the run learning, how fast, is it healthy.",
    (_NOW, _LEARNING, _SPEED, _HEALTH, _COMPARISON),
)
