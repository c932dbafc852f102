"""The dashboard of what the run costs: processes, memory, processors, games.

Read by `monitoring.dashboards`.
"""

from monitoring.dashboard_layout import (
    BLUE,
    GREEN,
    OF_ROLE,
    OF_RUN,
    ORANGE,
    RATE,
    Dashboard,
    Query,
    Section,
    chart,
    number,
)

_NOW = Section(
    "Now",
    (
        number(
            "Processes up",
            "none",
            "Of the chosen roles, answering Prometheus.",
            f"sum(up{{{OF_ROLE}}})",
            width=6,
            decimals=0,
            base=BLUE,
        ),
        number(
            "Memory in use",
            "bytes",
            "Resident, of these processes. Pages that they share are counted more than once.",
            f"sum(process_resident_memory_bytes{{{OF_ROLE}}})",
            width=6,
            decimals=1,
            base=BLUE,
        ),
        number(
            "Processor cores in use",
            "none",
            "By these processes, mean of a minute.",
            f"sum(rate(process_cpu_seconds_total{{{OF_ROLE}}}[{RATE}]))",
            width=6,
            decimals=1,
            base=BLUE,
        ),
        number(
            "Games lost and played again",
            "none",
            "Episodes that were cut off because the game ended under them, since their actors "
            "started. StarCraft II only; the embedded simulator has none.",
            f"sum(dm2_actor_episodes_dropped_total{{{OF_RUN}}})",
            width=6,
            decimals=0,
            base=GREEN,
            steps=((1, ORANGE),),
        ),
    ),
)

_PROCESSES = Section(
    "Processes",
    (
        chart(
            "Processes that answer",
            "none",
            "By role. A notch is a restart, a step down a process that stayed away.",
            Query(f"sum by (role) (up{{{OF_ROLE}}})", "{{role}}"),
            decimals=0,
        ),
        chart(
            "Started again",
            "none",
            "Since the run began, by role.",
            Query(f"sum by (role) (dm2_process_restarts_total{{{OF_ROLE}}})", "{{role}}"),
            decimals=0,
            reaches=1,
            steps=((5, ORANGE),),
        ),
        chart(
            "Age of the youngest process",
            "s",
            "By role. It falls to 0 when a process starts.",
            Query(f"min by (role) (time() - process_start_time_seconds{{{OF_ROLE}}})", "{{role}}"),
        ),
    ),
)

_MEMORY = Section(
    "Memory",
    (
        chart(
            "Memory by role",
            "bytes",
            "Resident, all processes of a role together.",
            Query(f"sum by (role) (process_resident_memory_bytes{{{OF_ROLE}}})", "{{role}}"),
            decimals=1,
            stacked=True,
        ),
        chart(
            "Largest process of a role",
            "bytes",
            "Resident. It should become flat after the first iterations.",
            Query(f"max by (role) (process_resident_memory_bytes{{{OF_ROLE}}})", "{{role}}"),
            decimals=1,
        ),
        chart(
            "Open files of a process",
            "none",
            "The most that one process of a role has open, sockets included. A steady climb is a "
            "leak.",
            Query(f"max by (role) (process_open_fds{{{OF_ROLE}}})", "{{role}}"),
            decimals=0,
        ),
    ),
)

_PROCESSORS = Section(
    "Processors",
    (
        chart(
            "Cores in use by role",
            "none",
            "All processes of a role together.",
            Query(
                f"sum by (role) (rate(process_cpu_seconds_total{{{OF_ROLE}}}[{RATE}]))", "{{role}}"
            ),
            stacked=True,
        ),
        chart(
            "Busiest process of a role",
            "none",
            "Cores. A learner at its number of threads, or an actor at 1, cannot go faster on "
            "this machine.",
            Query(
                f"max by (role) (rate(process_cpu_seconds_total{{{OF_ROLE}}}[{RATE}]))", "{{role}}"
            ),
        ),
        chart(
            "Env steps per second of an actor",
            "none",
            "The fastest, the median and the slowest. A wide gap: some share cores, or wait "
            "longer for tickets.",
            *(
                Query(
                    f"quantile({quantile}, sum by (actor) "
                    f"(rate(dm2_actor_env_steps_total{{{OF_RUN}}}[{RATE}])))",
                    legend,
                )
                for quantile, legend in ((1, "fastest"), (0.5, "median"), (0, "slowest"))
            ),
        ),
    ),
)

_DEVICES = Section(
    "Disk and GPU",
    (
        chart(
            "Room on the disk",
            "bytes",
            "Free on the disk of the run directory. Learners that find it full wait five minutes "
            "and then end the run; it can be resumed.",
            Query(f"min(dm2_head_disk_free_bytes{{{OF_RUN}}})", "free"),
            Query(f"max(dm2_head_disk_size_bytes{{{OF_RUN}}})", "size"),
            width=12,
            decimals=1,
        ),
        chart(
            "Memory of the GPU",
            "bytes",
            "Taken by the tensors of each learner, and all that its device has; 0 without a GPU.",
            Query(
                f"sum by (agent) (dm2_learner_device_memory_bytes{{{OF_RUN}}})", "agent {{agent}}"
            ),
            Query(f"max(dm2_learner_device_memory_limit_bytes{{{OF_RUN}}}) or vector(0)", "size"),
            reaches=2**30,
            width=12,
            decimals=1,
        ),
    ),
)

_GAMES = Section(
    "Games",
    (
        chart(
            "Episodes per second",
            "none",
            "Played by all actors, every kind of ticket.",
            Query(f"max(rate(dm2_head_played_episodes_total{{{OF_RUN}}}[{RATE}]))", "episodes"),
            decimals=1,
            width=6,
        ),
        chart(
            "Length of an episode",
            "none",
            "Env steps, mean of what was played.",
            Query(
                f"sum(rate(dm2_actor_env_steps_total{{{OF_RUN}}}[{RATE}])) / "
                f"(sum(rate(dm2_actor_episodes_total{{{OF_RUN}}}[{RATE}])) > 0)",
                "steps",
            ),
            decimals=1,
            width=6,
        ),
        chart(
            "Games started",
            "none",
            "In a minute: the first of each actor, after a loss, and fresh ones in "
            "place of old. StarCraft II only.",
            Query(f"60 * sum(rate(dm2_actor_game_launches_total{{{OF_RUN}}}[{RATE}]))", "started"),
            Query(
                "60 * sum by (reason) "
                f"(rate(dm2_actor_episodes_dropped_total{{{OF_RUN}}}[{RATE}]))",
                "episodes cut off: {{reason}}",
            ),
            decimals=0,
            reaches=1,
            steps=((5, ORANGE),),
            width=6,
        ),
        chart(
            "Memory of a game",
            "bytes",
            "After its newest battle: the largest, and the median. StarCraft II only; 0 with the "
            "embedded simulator.",
            Query(f"max(dm2_actor_game_memory_bytes{{{OF_RUN}}}) or vector(0)", "largest"),
            Query(f"quantile(0.5, dm2_actor_game_memory_bytes{{{OF_RUN}}}) or vector(0)", "median"),
            reaches=2**30,
            decimals=1,
            width=6,
        ),
    ),
)

MACHINES = Dashboard(
    "dm2-machines",
    "dm2 · Machines",
    "What the run costs: processes, memory, processors, games.",
    (_NOW, _PROCESSES, _MEMORY, _PROCESSORS, _DEVICES, _GAMES),
)
