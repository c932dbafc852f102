"""The numbers a process shows Prometheus: one class per role, one method per thing that happens.

The roles call methods and know neither metric names nor labels: `monitoring.catalogue` has those.
Fed by actors, learners and head; read by `monitoring.exporter` through `.registry`.
`python -m monitoring.metrics` prints docs/metrics.md.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence

from monitoring import catalogue
from monitoring.samples import Samples
from monitoring.time_budget import TimeBudget


class ActorMetrics(Samples):
    """What one actor exports; budget: where its time goes."""

    def __init__(self, run_id: str, actor: str) -> None:
        self.budget = TimeBudget(catalogue.ACTOR_PHASES)
        super().__init__(catalogue.ACTOR, {"run_id": run_id, "actor": actor}, self.budget)

    def played(self, env_steps: int, episodes: int) -> None:
        """A ticket was played."""
        with self._lock:
            self._add("dm2_actor_env_steps_total", env_steps)
            self._add("dm2_actor_episodes_total", episodes)

    def dropped(self, reason: str, episodes: int) -> None:
        """Episodes were cut off, for a reason of `catalogue.EPISODE_DROP_REASONS`."""
        self._add("dm2_actor_episodes_dropped_total", episodes, reason)

    def game(self, launches: int, memory_bytes: int) -> None:
        """The actor's game: how many it has started so far, and what the newest occupies."""
        with self._lock:
            self._raise("dm2_actor_game_launches_total", launches)
            self._set("dm2_actor_game_memory_bytes", memory_bytes)

    def policies(self, versions: Sequence[int]) -> None:
        """A training ticket is played with these parameter versions, [K]."""
        with self._lock:
            for agent, version in enumerate(versions):
                self._set("dm2_actor_policy_version", version, str(agent))

    def ledger(self, produced: int, settled: int, unsettled: int) -> None:
        """The books of this process, as totals since it started."""
        with self._lock:
            self._raise("dm2_actor_trajectories_produced_total", produced)
            self._raise("dm2_actor_trajectories_settled_total", settled)
            self._set("dm2_actor_trajectories_unsettled", unsettled)


class LearnerMetrics(Samples):
    """What the learner of one agent exports; budget: where its trainer's time goes."""

    def __init__(self, run_id: str, agent: int) -> None:
        self.budget = TimeBudget(catalogue.LEARNER_PHASES)
        super().__init__(catalogue.LEARNER, {"run_id": run_id, "agent": str(agent)}, self.budget)

    def trained(self, count: int) -> None:
        """A commit contains the effect of these trajectories."""
        self._add("dm2_learner_trajectories_trained_total", count)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Trajectories were dropped for a reason of `catalogue.DROP_REASONS`."""
        self._add("dm2_learner_trajectories_dropped_total", count, reason)

    def buffered(self, count: int) -> None:
        """So many trajectories wait for their iteration now."""
        self._set("dm2_learner_trajectories_buffered", count)

    def arrived(
        self,
        received: int,
        dropped: Mapping[str, int],
        buffered: int,
        *,
        resent: int = 0,
        messages: int = 0,
        num_bytes: int = 0,
    ) -> None:
        """What came off the wire since the last call, in one step, so that a scrape adds up.

        Args:
            received: trajectories that were new.
            dropped: those of them that were dropped, by reason of `catalogue.DROP_REASONS`.
            buffered: trajectories that wait for their iteration now.
            resent: copies of what was in hand or settled: their sender was in doubt.
            messages: of actors, whatever became of them.
            num_bytes: of these messages.
        """
        with self._lock:
            self._add("dm2_learner_trajectories_received_total", received)
            for reason, count in dropped.items():
                self.dropped(reason, count)
            self.buffered(buffered)
            self._add("dm2_learner_trajectories_resent_total", resent)
            self._add("dm2_learner_received_messages_total", messages)
            self._add("dm2_learner_received_bytes_total", num_bytes)

    def committed(self, seconds: float, published_bytes: int) -> None:
        """A commit is on disk and its parameters are published."""
        with self._lock:
            self._add("dm2_learner_commit_seconds_total", seconds)
            self._add("dm2_learner_published_bytes_total", published_bytes)

    def device_memory(self, used: int, limit: int) -> None:
        """Bytes of the GPU's memory that tensors of this process take, and all that it has."""
        with self._lock:
            self._set("dm2_learner_device_memory_bytes", used)
            self._set("dm2_learner_device_memory_limit_bytes", limit)

    def nonfinite(self, what: str) -> None:
        """A gradient step of a network of `catalogue.NETWORKS` was skipped."""
        self._add("dm2_learner_nonfinite_total", 1, what)

    def resumed(self, version: int) -> None:
        """The process starts from a checkpoint of this version."""
        self._set("dm2_learner_policy_version", version)

    def iteration(self, version: int, metrics: Mapping[str, float]) -> None:
        """An iteration was committed as `version`."""
        with self._lock:
            self._add("dm2_learner_iterations_total", 1)
            self._set("dm2_learner_policy_version", version)
            for name, number in metrics.items():
                row = self._rows.get(f"dm2_learner_{name}")
                if row is not None and row.kind == catalogue.GAUGE and not row.label:
                    self._set(row.name, number)
                else:
                    self._set("dm2_learner_statistic", number, name)

    def lag(self, own: Iterable[int], peers: Iterable[int]) -> None:
        """Tickets were trained on that had been played so many versions earlier.

        Args:
            own: lag of this agent's policy, once per ticket.
            peers: lag of every other agent's policy, once per ticket and agent.
        """
        with self._lock:
            self._histograms["dm2_learner_policy_lag_versions"].extend(own)
            self._histograms["dm2_learner_peer_lag_versions"].extend(peers)


class HeadMetrics(Samples):
    """What the head exports about the run as a whole."""

    def __init__(self, run_id: str, map_name: str) -> None:
        super().__init__(catalogue.HEAD, {"run_id": run_id, "map": map_name})

    def actors(self, counts: Mapping[str, int]) -> None:
        """Live actors by state; states not given have none."""
        self._replace("dm2_head_actors", counts)

    def tickets(self, counts: Mapping[str, int]) -> None:
        """Tickets not yet done by state; states not given have none."""
        self._replace("dm2_head_tickets", counts)

    def ledger_error(self, error: int) -> None:
        """What is missing from the books of the run."""
        self._set("dm2_head_ledger_error", error)

    def books(self, produced: int, trained: int, dropped: Mapping[str, int]) -> None:
        """Trajectories of the whole run so far, of living and dead processes."""
        with self._lock:
            self._raise("dm2_head_trajectories_produced_total", produced)
            self._raise("dm2_head_trajectories_trained_total", trained)
            for reason, count in dropped.items():
                self._raise("dm2_head_trajectories_dropped_total", count, reason)

    def losses(self, totals: Mapping[str, int], in_doubt: int) -> None:
        """Trajectories that went down with the process that held them, so far.

        Args:
            totals: known to be lost, by cause.
            in_doubt: those that may still be settled, or turn out to be lost.
        """
        with self._lock:
            self._set("dm2_head_trajectories_in_doubt", in_doubt)
            for cause, count in totals.items():
                self._raise("dm2_head_lost_total", count, cause)

    def played(self, env_steps: int, episodes: int) -> None:
        """What all actors have played so far, of living and dead processes."""
        with self._lock:
            self._raise("dm2_head_played_env_steps_total", env_steps)
            self._raise("dm2_head_played_episodes_total", episodes)

    def leases(self, totals: Mapping[str, int]) -> None:
        """Tickets leased so far, by what became of the lease."""
        with self._lock:
            for outcome, count in totals.items():
                self._raise("dm2_head_leases_total", count, outcome)

    def disk(self, free: int, size: int) -> None:
        """Bytes free for the run directory, and all of its disk."""
        with self._lock:
            self._set("dm2_head_disk_free_bytes", free)
            self._set("dm2_head_disk_size_bytes", size)

    def max_lag(self, versions: int) -> None:
        """The most versions that what is trained may be old."""
        self._set("dm2_run_max_lag_versions", versions)

    def demonstrators(self, win_rate: float) -> None:
        """How often those win whom the run imitates."""
        self._set("dm2_head_demonstrators_win_rate", win_rate)

    def left(self, seconds: float) -> None:
        """How long the run will still take at the present speed."""
        self._set("dm2_head_left_seconds", seconds)

    def restart(self, role: str) -> None:
        """A child of this role was started again."""
        self._add("dm2_process_restarts_total", 1, role)

    def env_steps(self, total: int) -> None:
        """Training env steps committed so far."""
        self._raise("dm2_head_env_steps_total", total)

    def env_steps_target(self, target: int) -> None:
        """Training env steps at which the run ends."""
        self._set("dm2_head_env_steps_target", target)

    def iterations(self, total: int) -> None:
        """Iterations committed by every learner so far."""
        self._raise("dm2_head_iterations_total", total)

    def evaluation(self, wins: int, episodes: int, return_mean: float) -> None:
        """An evaluation of at least one episode is complete."""
        assert 0 <= wins <= episodes, "wins are some of the episodes"
        with self._lock:
            self._add("dm2_eval_episodes_total", wins, "win")
            self._add("dm2_eval_episodes_total", episodes - wins, "loss")
            self._set("dm2_eval_return_mean", return_mean)
            self._set("dm2_win_rate", wins / episodes)

    def win_rate(self, rate: float) -> None:
        """The win rate known from the run's record, for instance after a resume."""
        self._set("dm2_win_rate", rate)

    def run_state(self, state: str) -> None:
        """The run is now in this state of `catalogue.RUN_STATES`."""
        assert state in catalogue.RUN_STATES, f"{state!r} is no state of a run"
        self._replace("dm2_run_state", {state: 1})


if __name__ == "__main__":
    sys.stdout.write(catalogue.markdown())
