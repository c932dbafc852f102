"""Every metric the system exports, declared once: name, kind, label, meaning, and who exports it.

One table, so that code, document, dashboards and alert rules cannot drift apart.
Read by `monitoring.metrics`, which fills it with values; rendered into docs/metrics.md.
"""

from dataclasses import dataclass

from dm2_dist.comms.ledger import ENV_RESTART
from dm2_dist.comms.refusal import Reason
from monitoring.time_budget import OTHER, START

COUNTER = "counter"
GAUGE = "gauge"
HISTOGRAM = "histogram"

ACTOR = "actor"
LEARNER = "learner"
HEAD = "head"
ROLES = (ACTOR, LEARNER, HEAD)

MAX_VALUES = 32
"""Most values one label may take; whatever comes later is counted under `other`."""

LAG_BUCKETS = (0, 1, 2, 4, 8, 16, 32)
RUN_STATES = ("starting", "training", "degraded", "draining", "finished", "failed")
ACTOR_PHASES = ("wait_game", "wait_ticket", "wait_parameters", "play", "send", "settle")
LEARNER_PHASES = ("wait_data", "prepare", "discriminator", "ppo", "checkpoint")
LEASE_OUTCOMES = ("fulfilled", "reissued")
EPISODE_DROP_REASONS = (ENV_RESTART,)
DROP_REASONS = tuple(reason.value for reason in Reason)
LOSS_CAUSES = ("actor_died", "host_lost", "rolled_back")
NETWORKS = ("policy", "critic", "discriminator")
PEER_ROLES = (*ROLES, "launcher")
HEADER_REFUSALS = ("schema", "oversize", "corrupt")
ACTOR_QUEUES = ("unsettled", "parameters", "to_head", "to_learners", "from_learners", "published")
LEARNER_QUEUES = ("buffer", "handover", "outbox", "versions", "from_actors", "publications")
HEAD_QUEUES = ("from_peers", "to_peers")


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table.

    unit: what one is, for people; seconds and bytes are also in the name.
    label: the one label that varies inside a process, or "".
    values: values of that label exported from the start, so that a first event shows as a rise.
    """

    name: str
    kind: str
    roles: tuple[str, ...]
    unit: str
    help: str
    label: str = ""
    values: tuple[str, ...] = ()


def _actor(name: str, kind: str, unit: str, text: str, *label: str) -> Metric:
    return _metric(f"dm2_actor_{name}", kind, (ACTOR,), unit, text, *label)


def _learner(name: str, kind: str, unit: str, text: str, *label: str) -> Metric:
    return _metric(f"dm2_learner_{name}", kind, (LEARNER,), unit, text, *label)


def _head(name: str, kind: str, unit: str, text: str, *label: str) -> Metric:
    return _metric(f"dm2_{name}", kind, (HEAD,), unit, text, *label)


def _metric(
    name: str,
    kind: str,
    roles: tuple[str, ...],
    unit: str,
    text: str,
    label: str = "",
    *values: str,
) -> Metric:
    return Metric(name, kind, roles, unit, text, label, values)


def _queues(role: str, names: tuple[str, ...]) -> tuple[Metric, Metric]:
    """The use and the bound of a role's queues; of those inside ZeroMQ only the bound is known."""
    return (
        _metric(f"dm2_{role}_queue_bytes", GAUGE, (role,), "bytes",
                "In the queue now; absent for queues inside ZeroMQ.", "queue"),
        _metric(f"dm2_{role}_queue_limit_bytes", GAUGE, (role,), "bytes",
                f"Most that the queue can hold; one of {', '.join(names)}.", "queue"),
    )  # fmt: skip


_ACTOR_ROWS = (
    _actor("env_steps_total", COUNTER, "environment steps", "Steps played, all kinds of tickets."),
    _actor("episodes_total", COUNTER, "episodes", "Episodes played, all kinds of tickets."),
    _actor("episodes_dropped_total", COUNTER, "episodes",
           "Cut off by a lost game and played again, all kinds of tickets, by reason.",
           "reason", *EPISODE_DROP_REASONS),
    _actor("game_launches_total", COUNTER, "games",
           "Games started: the first, after a loss, and fresh ones in place of old."),
    _actor("game_memory_bytes", GAUGE, "bytes", "Of the game, after its newest battle."),
    _actor("trajectories_produced_total", COUNTER, "trajectories", "Made for some learner."),
    _actor("trajectories_settled_total", COUNTER, "trajectories", "Learner's commit is on disk."),
    _actor("trajectories_unsettled", GAUGE, "trajectories",
           "Kept until settled: produced minus settled, at every scrape."),
    _actor("phase_seconds_total", COUNTER, "seconds",
           "Time by what the actor did; the phases sum to the age of the process.",
           "phase", START, *ACTOR_PHASES, OTHER),
    _actor("policy_version", GAUGE, "versions",
           "Of the parameters in its newest training ticket, by agent.", "agent"),
    *_queues(ACTOR, ACTOR_QUEUES),
)  # fmt: skip

_LEARNER_ROWS = (
    _learner("trajectories_received_total", COUNTER, "trajectories",
             "Taken off the wire; equals trained plus dropped plus buffered, at every scrape."),
    _learner("trajectories_trained_total", COUNTER, "trajectories", "In a committed update."),
    _learner("trajectories_dropped_total", COUNTER, "trajectories",
             "Not trained on, by reason.", "reason", *DROP_REASONS),
    _learner("trajectories_resent_total", COUNTER, "trajectories",
             "Copies of what is in hand or settled already; in no other count."),
    _learner("received_messages_total", COUNTER, "messages", "From actors, of every kind."),
    _learner("received_bytes_total", COUNTER, "bytes", "From actors, headers and bodies."),
    _learner("published_bytes_total", COUNTER, "bytes",
             "Parameters, once per version, however many actors listen."),
    _learner("trajectories_buffered", GAUGE, "trajectories", "Received, not yet trained on."),
    _learner("policy_version", GAUGE, "versions", "Newest committed parameter version."),
    _learner("policy_lag_versions", HISTOGRAM, "versions",
             "Learner's version minus the version that played, once per ticket."),
    _learner("peer_lag_versions", HISTOGRAM, "versions",
             "The same of every other agent's policy, once per ticket and agent."),
    _learner("iterations_total", COUNTER, "iterations", "Iterations trained by this process."),
    _learner("phase_seconds_total", COUNTER, "seconds",
             "Time by what the learner did; the phases sum to the age of the process.",
             "phase", START, *LEARNER_PHASES, OTHER),
    _learner("commit_seconds_total", COUNTER, "seconds",
             "Putting commits on disk and publishing them, beside the phases."),
    _learner("policy_loss", GAUGE, "1", "Clipped surrogate loss of the last iteration."),
    _learner("value_loss", GAUGE, "1", "Huber loss of the critic, in normalised units."),
    _learner("entropy", GAUGE, "nats", "Mean entropy of the policy over available actions."),
    _learner("approx_kl", GAUGE, "nats", "Estimated divergence from the policy before the update."),
    _learner("clip_fraction", GAUGE, "fraction", "Share of importance ratios that were clipped."),
    _learner("explained_variance", GAUGE, "fraction", "Of the returns, by the critic."),
    _learner("policy_gradient_norm", GAUGE, "1", "Norm of the policy's gradient before clipping."),
    _learner("critic_gradient_norm", GAUGE, "1", "Norm of the critic's gradient before clipping."),
    _learner("behaviour_ratio_mean", GAUGE, "1",
             "Mean probability ratio of the policy before the update to the one that played."),
    _learner("behaviour_log_ratio_mean", GAUGE, "nats",
             "Mean size of that ratio's logarithm, before anything is cut off; 0 at lag 0."),
    _learner("behaviour_ratio_capped_fraction", GAUGE, "fraction",
             "Share of these ratios that were cut off at the cap."),
    _learner("effective_sample_size", GAUGE, "fraction",
             "Share of the data that counts after weighing by these ratios; 1 at lag 0."),
    _learner("log_prob_mismatch", GAUGE, "nats",
             "Largest |recomputed - recorded| log-probability; must be tiny at lag 0."),
    _learner("discriminator_loss", GAUGE, "nats", "Binary cross-entropy, label 1 is the expert."),
    _learner("discriminator_accuracy", GAUGE, "fraction", "0.5 when it cannot tell the two apart."),
    _learner("gradient_penalty", GAUGE, "1", "Penalty term of the discriminator's loss."),
    _learner("logit_expert_mean", GAUGE, "nats", "Mean logit on demonstrations."),
    _learner("logit_agent_mean", GAUGE, "nats", "Mean logit on the agent's own episodes."),
    _learner("imitation_reward_mean", GAUGE, "nats",
             "Mean logit over the living steps of the agent, before the coefficient."),
    _learner("train_win_rate", GAUGE, "fraction", "Of the last iteration's sampled episodes."),
    _learner("train_return_mean", GAUGE, "reward per episode", "Env return of these episodes."),
    _learner("statistic", GAUGE, "1", "Any other number of an iteration.", "statistic"),
    _learner("nonfinite_total", COUNTER, "gradient steps",
             "Skipped: the loss or a gradient was not finite, by network.", "what", *NETWORKS),
    _learner("device_memory_bytes", GAUGE, "bytes",
             "Of the GPU's memory, taken by tensors; absent without a GPU."),
    _learner("device_memory_limit_bytes", GAUGE, "bytes", "All of the GPU's memory."),
    *_queues(LEARNER, LEARNER_QUEUES),
)  # fmt: skip

_HEAD_ROWS = (
    _head("head_actors", GAUGE, "processes", "Actors by what they do.",
          "state", "playing", "waiting"),
    _head("head_tickets", GAUGE, "tickets", "Tickets not yet done, by state.",
          "state", "waiting", "leased"),
    _head("head_ledger_error", GAUGE, "trajectories",
          "Produced minus trained, dropped, lost and in flight; not 0 means a bug."),
    _head("head_trajectories_produced_total", COUNTER, "trajectories",
          "By all actors, of living and dead processes."),
    _head("head_trajectories_trained_total", COUNTER, "trajectories",
          "By all learners, in commits on disk."),
    _head("head_trajectories_dropped_total", COUNTER, "trajectories",
          "By all learners and, as env_restart, by actors.", "reason",
          *EPISODE_DROP_REASONS, *DROP_REASONS),
    _head("head_lost_total", COUNTER, "trajectories",
          "Gone with the process that held them, by cause; known once no learner can have them.",
          "cause", *LOSS_CAUSES),
    _head("head_trajectories_in_doubt", GAUGE, "trajectories",
          "Made by actors that ended since; a learner has them, or they are lost."),
    _head("head_leases_total", COUNTER, "tickets",
          "Leases that ended, in all of the run: delivered, or given to somebody else.",
          "outcome", *LEASE_OUTCOMES),
    _head("head_played_env_steps_total", COUNTER, "environment steps",
          "By all actors in all of the run, of living and dead processes, all tickets."),
    _head("head_played_episodes_total", COUNTER, "episodes", "The same in episodes."),
    _head("head_env_steps_total", COUNTER, "environment steps", "Training steps committed."),
    _head("head_env_steps_target", GAUGE, "environment steps", "The run ends there."),
    _head("head_left_seconds", GAUGE, "seconds", "Until the run ends, at its present speed."),
    _head("head_iterations_total", COUNTER, "iterations", "Committed by every learner."),
    _head("eval_episodes_total", COUNTER, "episodes", "Greedy evaluation episodes, by result.",
          "result", "win", "loss"),
    _head("eval_return_mean", GAUGE, "reward per episode", "Of the newest evaluation."),
    _head("win_rate", GAUGE, "fraction", "Of the newest evaluation."),
    _head("head_demonstrators_win_rate", GAUGE, "fraction",
          "Of those whom the run imitates; absent if it imitates nobody."),
    _head("process_restarts_total", COUNTER, "processes", "Children started again, by role.",
          "role", *ROLES),
    _head("run_state", GAUGE, "0 or 1", "1 for the state the run is in.", "state", *RUN_STATES),
    _head("run_max_lag_versions", GAUGE, "versions",
          "Most that what is trained may be old, by the schedule."),
    _head("head_disk_free_bytes", GAUGE, "bytes", "Free on the disk of the run directory."),
    _head("head_disk_size_bytes", GAUGE, "bytes", "All of that disk."),
    *_queues(HEAD, HEAD_QUEUES)[1:],
)  # fmt: skip

_LISTENERS = (LEARNER, HEAD)
_LISTENER_ROWS = (
    _metric("dm2_messages_refused_total", COUNTER, _LISTENERS, "messages",
            "Refused before they reached any book, by reason.", "reason", *HEADER_REFUSALS),
    _metric("dm2_peers_refused_total", COUNTER, _LISTENERS, "peers",
            "Told that they may not take part, by the role they claimed.", "role", *PEER_ROLES),
    _metric("dm2_peers_banned_total", COUNTER, _LISTENERS, "peers",
            "Not listened to any more until they come with a new incarnation, by role.",
            "role", *PEER_ROLES),
    _metric("dm2_keys_refused_total", COUNTER, _LISTENERS, "connections",
            "Refused before the first message: the key is unknown, or of another role."),
)  # fmt: skip

_EVERY_ROLE_ROWS = (
    _metric("dm2_build_info", GAUGE, ROLES, "1", "Always 1; names the version.", "version"),
)

TABLE: tuple[Metric, ...] = (
    *_ACTOR_ROWS,
    *_LEARNER_ROWS,
    *_HEAD_ROWS,
    *_LISTENER_ROWS,
    *_EVERY_ROLE_ROWS,
)

_CONSTANT_LABELS = {
    ACTOR: "`run_id`, `actor`",
    LEARNER: "`run_id`, `agent`",
    HEAD: "`run_id`, `map`",
}

_INTRODUCTION = f"""\
# Metrics

Generated by `python -m monitoring.metrics > docs/metrics.md`; a test compares the two.
How to look at them: [watching.md](watching.md).

Every process serves its own on `/metrics`. A scrape is one consistent cut of a process: identities
such as produced = settled + unsettled hold in each. Sums over processes are not consistent cuts,
and fall when a process is gone; judge the whole run by the head's totals and by
`dm2_head_ledger_error`. A label takes at most {MAX_VALUES} values; whatever
comes later is counted under `other`. Next to these, each process exports the usual
`process_resident_memory_bytes`, `process_cpu_seconds_total`, `process_open_fds` and
`process_start_time_seconds` (Linux only).
"""


def markdown() -> str:
    """The table as the document docs/metrics.md."""
    sections = [_INTRODUCTION]
    sections += [_section(f"Of the {role}", role) for role in ROLES]
    return "\n".join(sections)


def _section(title: str, role: str) -> str:
    lines = [
        f"## {title}",
        f"Every sample also carries {_CONSTANT_LABELS[role]}.",
        "",
        "| metric | kind | unit | label | meaning |",
        "|---|---|---|---|---|",
    ]
    lines += [_line(metric) for metric in TABLE if role in metric.roles]
    return "\n".join(lines) + "\n"


def _line(metric: Metric) -> str:
    known = ", ".join(metric.values)
    label = f"`{metric.label}`" + (f": {known}" if known else "") if metric.label else ""
    text = metric.help.replace("|", "\\|")
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {label} | {text} |"
