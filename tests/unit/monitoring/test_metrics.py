import re
import threading
from collections.abc import Callable
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import parser

from dm2_dist import __version__
from dm2_dist.comms import ledger
from monitoring import catalogue, exporter, time_budget
from monitoring.metrics import ActorMetrics, HeadMetrics, LearnerMetrics

ROOT = Path(__file__).parents[3]


@pytest.fixture
def actor() -> ActorMetrics:
    return ActorMetrics("r1", "actor-3")


@pytest.fixture
def learner() -> LearnerMetrics:
    return LearnerMetrics("r1", 2)


@pytest.fixture
def head() -> HeadMetrics:
    return HeadMetrics("r1", "3m")


_CONSTANT = {
    ActorMetrics: {"run_id": "r1", "actor": "actor-3"},
    LearnerMetrics: {"run_id": "r1", "agent": "2"},
    HeadMetrics: {"run_id": "r1", "map": "3m"},
}


def read(source: ActorMetrics | LearnerMetrics | HeadMetrics, name: str, **labels: str) -> float:
    value = source.registry.get_sample_value(name, _CONSTANT[type(source)] | labels)
    assert value is not None, f"{name} {labels} is not exported"
    return value


def absent(source: ActorMetrics | LearnerMetrics | HeadMetrics, name: str, **labels: str) -> bool:
    return source.registry.get_sample_value(name, _CONSTANT[type(source)] | labels) is None


def test_playing_a_ticket_moves_the_work_counters(actor: ActorMetrics) -> None:
    actor.played(env_steps=200, episodes=8)
    actor.played(env_steps=100, episodes=4)
    assert read(actor, "dm2_actor_env_steps_total") == 300
    assert read(actor, "dm2_actor_episodes_total") == 12


def test_a_game_is_followed_from_launch_to_launch(actor: ActorMetrics) -> None:
    assert read(actor, "dm2_actor_episodes_dropped_total", reason="env_restart") == 0
    actor.game(launches=1, memory_bytes=700)
    actor.dropped("env_restart", 1)
    actor.game(launches=2, memory_bytes=300)
    assert read(actor, "dm2_actor_episodes_dropped_total", reason="env_restart") == 1
    assert read(actor, "dm2_actor_game_launches_total") == 2
    assert read(actor, "dm2_actor_game_memory_bytes") == 300


def test_an_actors_ledger_is_set_as_totals(actor: ActorMetrics) -> None:
    actor.ledger(produced=10, settled=4, unsettled=6)
    actor.ledger(produced=12, settled=12, unsettled=0)
    assert read(actor, "dm2_actor_trajectories_produced_total") == 12
    assert read(actor, "dm2_actor_trajectories_settled_total") == 12
    assert read(actor, "dm2_actor_trajectories_unsettled") == 0


@pytest.mark.parametrize("role", ["actor", "learner"])
def test_the_phases_sum_to_the_age_of_the_process(
    role: str, actor: ActorMetrics, learner: LearnerMetrics
) -> None:
    source = actor if role == "actor" else learner
    source.budget.enter("play" if role == "actor" else "ppo")
    before = time_budget.process_age()
    [family] = [
        family for family in source.registry.collect() if family.name == f"dm2_{role}_phase_seconds"
    ]
    assert before <= sum(sample.value for sample in family.samples) <= time_budget.process_age()
    assert before > 0.1
    assert all(sample.value > 0 for sample in family.samples if sample.labels["phase"] == "start")


def test_the_learners_books_count_what_happens(learner: LearnerMetrics) -> None:
    learner.arrived(1, {"duplicate": 1}, 0)
    learner.arrived(5, {}, 5)
    learner.dropped("stale", 2)
    learner.trained(3)
    learner.buffered(0)
    assert read(learner, "dm2_learner_trajectories_received_total") == 6
    assert read(learner, "dm2_learner_trajectories_trained_total") == 3
    assert read(learner, "dm2_learner_trajectories_dropped_total", reason="duplicate") == 1
    assert read(learner, "dm2_learner_trajectories_dropped_total", reason="stale") == 2
    assert read(learner, "dm2_learner_trajectories_buffered") == 0


def test_an_iteration_moves_version_lag_and_gauges(learner: LearnerMetrics) -> None:
    learner.resumed(6)
    assert read(learner, "dm2_learner_policy_version") == 6
    learner.iteration(7, {"entropy": 1.25, "approx_kl": 0.01})
    learner.lag([0, 3], [1])
    learner.iteration(8, {"entropy": 1.0, "new_number": 5.0})
    assert read(learner, "dm2_learner_iterations_total") == 2
    assert read(learner, "dm2_learner_policy_version") == 8
    assert read(learner, "dm2_learner_entropy") == 1.0
    assert read(learner, "dm2_learner_approx_kl") == 0.01
    assert read(learner, "dm2_learner_statistic", statistic="new_number") == 5.0
    buckets = {
        bound: read(learner, "dm2_learner_policy_lag_versions_bucket", le=bound)
        for bound in ("0", "1", "2", "4", "8", "16", "32", "+Inf")
    }
    assert [*buckets.values()] == [1, 1, 1, 2, 2, 2, 2, 2]
    assert read(learner, "dm2_learner_policy_lag_versions_sum") == 3
    assert read(learner, "dm2_learner_policy_lag_versions_count") == 2
    assert read(learner, "dm2_learner_peer_lag_versions_sum") == 1
    assert read(learner, "dm2_learner_peer_lag_versions_bucket", le="0") == 0


def test_a_lag_beyond_the_last_bucket_is_still_counted(learner: LearnerMetrics) -> None:
    learner.lag([33], [])
    assert read(learner, "dm2_learner_policy_lag_versions_bucket", le="32") == 0
    assert read(learner, "dm2_learner_policy_lag_versions_bucket", le="+Inf") == 1


def test_a_statistic_cannot_overwrite_the_books(learner: LearnerMetrics) -> None:
    learner.iteration(1, {"iterations_total": 99.0, "statistic": 3.0, "phase_seconds_total": 1})
    assert read(learner, "dm2_learner_iterations_total") == 1
    assert read(learner, "dm2_learner_statistic", statistic="iterations_total") == 99.0
    assert read(learner, "dm2_learner_statistic", statistic="statistic") == 3.0


def test_states_not_given_are_zero(head: HeadMetrics) -> None:
    head.actors({"playing": 20, "waiting": 12})
    head.actors({"playing": 3})
    assert read(head, "dm2_head_actors", state="playing") == 3
    assert read(head, "dm2_head_actors", state="waiting") == 0
    head.tickets({"leased": 5, "waiting": 2})
    head.tickets({"waiting": 1})
    assert read(head, "dm2_head_tickets", state="leased") == 0
    assert read(head, "dm2_head_tickets", state="waiting") == 1


def test_the_head_counts_losses_restarts_and_progress(head: HeadMetrics) -> None:
    head.losses({"actor_died": 5}, in_doubt=7)
    head.losses({"actor_died": 4}, in_doubt=3)
    head.restart("actor")
    head.restart("actor")
    head.restart("learner")
    head.env_steps(1000)
    head.env_steps_target(5000)
    head.iterations(4)
    head.ledger_error(1)
    assert read(head, "dm2_head_lost_total", cause="actor_died") == 5
    assert read(head, "dm2_head_trajectories_in_doubt") == 3
    assert read(head, "dm2_process_restarts_total", role="actor") == 2
    assert read(head, "dm2_process_restarts_total", role="learner") == 1
    assert read(head, "dm2_process_restarts_total", role="head") == 0
    assert read(head, "dm2_head_env_steps_total") == 1000
    assert read(head, "dm2_head_env_steps_target") == 5000
    assert read(head, "dm2_head_iterations_total") == 4
    assert read(head, "dm2_head_ledger_error") == 1


def test_an_evaluation_counts_wins_and_losses(head: HeadMetrics) -> None:
    head.evaluation(wins=24, episodes=32, return_mean=15.5)
    head.evaluation(wins=8, episodes=32, return_mean=9.0)
    assert read(head, "dm2_eval_episodes_total", result="win") == 32
    assert read(head, "dm2_eval_episodes_total", result="loss") == 32
    assert read(head, "dm2_eval_return_mean") == 9.0
    assert read(head, "dm2_win_rate") == 0.25
    head.win_rate(0.5)
    assert read(head, "dm2_win_rate") == 0.5


def test_the_run_is_in_exactly_one_state(head: HeadMetrics) -> None:
    for state in catalogue.RUN_STATES:
        head.run_state(state)
        values = {other: read(head, "dm2_run_state", state=other) for other in catalogue.RUN_STATES}
        assert values == {other: float(other == state) for other in catalogue.RUN_STATES}
    with pytest.raises(AssertionError, match="asleep"):
        head.run_state("asleep")


def test_an_actor_shows_the_policies_that_it_plays(actor: ActorMetrics) -> None:
    actor.policies([7, 6])
    actor.policies([8, 6])
    assert read(actor, "dm2_actor_policy_version", agent="0") == 8
    assert read(actor, "dm2_actor_policy_version", agent="1") == 6


def test_a_learner_counts_its_traffic_and_its_commits(learner: LearnerMetrics) -> None:
    learner.arrived(0, {}, 0, messages=1, num_bytes=1000)
    learner.arrived(0, {}, 0, resent=1, messages=1, num_bytes=24)
    learner.committed(0.25, published_bytes=500)
    learner.committed(0.5, published_bytes=500)
    learner.device_memory(used=3, limit=8)
    assert read(learner, "dm2_learner_received_messages_total") == 2
    assert read(learner, "dm2_learner_received_bytes_total") == 1024
    assert read(learner, "dm2_learner_trajectories_resent_total") == 1
    assert read(learner, "dm2_learner_trajectories_received_total") == 0
    assert read(learner, "dm2_learner_commit_seconds_total") == 0.75
    assert read(learner, "dm2_learner_published_bytes_total") == 1000
    assert read(learner, "dm2_learner_device_memory_bytes") == 3
    assert read(learner, "dm2_learner_device_memory_limit_bytes") == 8


def test_the_heads_totals_outlive_the_processes_they_come_from(head: HeadMetrics) -> None:
    head.books(produced=100, trained=80, dropped={"stale": 3})
    head.books(produced=100, trained=60, dropped={})  # a learner is down, its books are not heard
    head.played(env_steps=5000, episodes=50)
    head.played(env_steps=4000, episodes=40)
    head.leases({"fulfilled": 30, "reissued": 2})
    assert read(head, "dm2_head_trajectories_produced_total") == 100
    assert read(head, "dm2_head_trajectories_trained_total") == 80
    assert read(head, "dm2_head_trajectories_dropped_total", reason="stale") == 3
    assert read(head, "dm2_head_trajectories_dropped_total", reason="env_restart") == 0
    assert read(head, "dm2_head_played_env_steps_total") == 5000
    assert read(head, "dm2_head_played_episodes_total") == 50
    assert read(head, "dm2_head_leases_total", outcome="reissued") == 2


def test_the_head_shows_what_it_knows_of_the_run(head: HeadMetrics) -> None:
    assert absent(head, "dm2_head_demonstrators_win_rate")
    assert absent(head, "dm2_head_left_seconds")
    head.demonstrators(0.9)
    head.left(60.0)
    head.max_lag(1)
    head.disk(free=10, size=100)
    assert read(head, "dm2_head_demonstrators_win_rate") == 0.9
    assert read(head, "dm2_head_left_seconds") == 60.0
    assert read(head, "dm2_run_max_lag_versions") == 1
    assert read(head, "dm2_head_disk_free_bytes") == 10
    assert read(head, "dm2_head_disk_size_bytes") == 100


def test_totals_never_go_back(head: HeadMetrics, actor: ActorMetrics) -> None:
    head.env_steps(500)
    head.env_steps(400)
    assert read(head, "dm2_head_env_steps_total") == 500
    actor.ledger(produced=2, settled=2, unsettled=0)
    actor.ledger(produced=1, settled=1, unsettled=0)
    assert read(actor, "dm2_actor_trajectories_produced_total") == 2


def test_counters_refuse_to_count_down(learner: LearnerMetrics) -> None:
    with pytest.raises(AssertionError, match="counts upwards"):
        learner.dropped("stale", -1)


def test_unknown_gauges_are_absent_and_counters_zero(
    learner: LearnerMetrics, head: HeadMetrics
) -> None:
    assert absent(learner, "dm2_learner_entropy")
    assert absent(head, "dm2_win_rate")
    assert read(learner, "dm2_learner_trajectories_received_total") == 0
    for reason in catalogue.DROP_REASONS:
        assert read(learner, "dm2_learner_trajectories_dropped_total", reason=reason) == 0


def test_a_label_takes_a_bounded_number_of_values(learner: LearnerMetrics) -> None:
    for number in range(1000):
        learner.dropped(f"reason_{number}")
    [family] = [
        family
        for family in learner.registry.collect()
        if family.name == "dm2_learner_trajectories_dropped"
    ]
    assert len(family.samples) == catalogue.MAX_VALUES
    assert sum(sample.value for sample in family.samples) == 1000
    assert read(learner, "dm2_learner_trajectories_dropped_total", reason="other") > 900


def test_a_scrape_sees_updates_made_together_all_at_once(learner: LearnerMetrics) -> None:
    seen: list[float] = []

    def scrape() -> None:
        learner.text()
        seen.append(1)

    thread = threading.Thread(target=scrape)
    with learner.together():
        learner.arrived(1, {}, 0)
        thread.start()
        thread.join(0.1)
        assert not seen, "the scrape went through in the middle of an update"
        learner.buffered(1)
    thread.join(10)
    assert seen


def test_processes_export_their_memory_and_version(actor: ActorMetrics) -> None:
    assert read(actor, "dm2_build_info", version=__version__) == 1
    resident = actor.registry.get_sample_value("process_resident_memory_bytes")
    assert resident is not None
    assert resident > 1e6


def test_registries_are_private(actor: ActorMetrics) -> None:
    before = prometheus_client.generate_latest(ActorMetrics("r1", "actor-3").registry)
    actor.played(1, 1)
    assert b"dm2_actor_env_steps_total" not in prometheus_client.generate_latest()
    assert b'dm2_actor_env_steps_total{actor="actor-3",run_id="r1"} 0.0' in before


def _exercise_actor() -> ActorMetrics:
    source = ActorMetrics("r1", "actor-3")
    source.ledger(1, 1, 0)
    source.policies([3, 4])
    source.game(1, 2**30)
    source.queue("unsettled", limit=8, used=4)
    return source


def _exercise_learner() -> LearnerMetrics:
    source = LearnerMetrics("r1", 2)
    source.buffered(1)
    source.queue("buffer", limit=8, used=4)
    source.device_memory(1, 2)
    gauges = [row for row in catalogue.TABLE if row.name.startswith("dm2_learner_")]
    source.iteration(1, {row.name.removeprefix("dm2_learner_"): 0.5 for row in gauges})
    return source


def _exercise_head() -> HeadMetrics:
    source = HeadMetrics("r1", "3m")
    source.ledger_error(0)
    source.queue("to_peers", limit=8)
    source.env_steps_target(1)
    source.disk(free=1, size=2)
    source.max_lag(1)
    source.left(2.0)
    source.demonstrators(0.9)
    source.evaluation(1, 2, 3.0)
    source.losses({}, in_doubt=0)
    return source


@pytest.mark.parametrize(
    ("role", "exercise"),
    [
        (catalogue.ACTOR, _exercise_actor),
        (catalogue.LEARNER, _exercise_learner),
        (catalogue.HEAD, _exercise_head),
    ],
)
def test_a_role_exports_its_rows_of_the_table_and_nothing_else(
    role: str, exercise: Callable[[], ActorMetrics | LearnerMetrics | HeadMetrics]
) -> None:
    source = exercise()
    text = prometheus_client.generate_latest(source.registry).decode()
    families = [*parser.text_string_to_metric_families(text)]
    exported = {family.name for family in families if family.samples}
    ours = {name for name in exported if not name.startswith("process_")}
    rows = [row for row in catalogue.TABLE if role in row.roles]
    assert ours == {row.name.removesuffix("_total") for row in rows}
    kinds = {family.name: family.type for family in families}
    assert all(kinds[row.name.removesuffix("_total")] == row.kind for row in rows)
    constant = _CONSTANT[type(source)]
    for family in families:
        for sample in family.samples:
            if family.name in ours:
                assert constant.items() <= sample.labels.items()


def test_names_follow_the_convention() -> None:
    names = [row.name for row in catalogue.TABLE]
    assert len(set(names)) == len(names)
    for row in catalogue.TABLE:
        assert re.fullmatch(r"dm2(_[a-z]+)+", row.name), row.name
        assert row.name.endswith("_total") == (row.kind == catalogue.COUNTER), row.name
        assert ("_seconds" in row.name) == (row.unit == "seconds"), row.name
        assert bool(row.label) or not row.values, row.name
        assert len(row.values) < catalogue.MAX_VALUES, row.name
        assert row.help.endswith("."), row.name


def test_no_sample_hides_a_label_of_its_target() -> None:
    [group] = exporter.service_discovery([exporter.Target("127.0.0.1:1", "head", "head", "r1")])
    # NOTE: in these the role is that of somebody else, and the sample's own label wins.
    of_others = ("dm2_process_restarts_total", "dm2_peers_refused_total", "dm2_peers_banned_total")
    own = {row.label for row in catalogue.TABLE if row.name not in of_others}
    assert not own & group["labels"].keys()


def test_causes_of_loss_are_those_of_the_ledger() -> None:
    assert {ledger.ACTOR_DIED, ledger.ROLLED_BACK} <= set(catalogue.LOSS_CAUSES)


def test_a_queue_has_a_bound_and_where_it_can_be_known_a_use(
    actor: ActorMetrics, learner: LearnerMetrics, head: HeadMetrics
) -> None:
    actor.queue("unsettled", limit=100, used=0)
    actor.queue("unsettled", limit=100, used=70)
    actor.queue("to_learners", limit=64)
    learner.queue("buffer", limit=9, used=3)
    head.queue("to_peers", limit=20)
    assert read(actor, "dm2_actor_queue_bytes", queue="unsettled") == 70
    assert read(actor, "dm2_actor_queue_limit_bytes", queue="unsettled") == 100
    assert read(actor, "dm2_actor_queue_limit_bytes", queue="to_learners") == 64
    assert absent(actor, "dm2_actor_queue_bytes", queue="to_learners")
    assert read(learner, "dm2_learner_queue_limit_bytes", queue="buffer") == 9
    assert read(head, "dm2_head_queue_limit_bytes", queue="to_peers") == 20


@pytest.mark.parametrize("role", ["learner", "head"])
def test_whoever_listens_counts_what_it_refuses(
    role: str, learner: LearnerMetrics, head: HeadMetrics
) -> None:
    source = learner if role == "learner" else head
    for reason in ("schema", "oversize", "schema"):
        source.message_refused(reason)
    source.peer_refused("learner")
    source.peer_banned("actor")
    source.keys_refused(2)
    source.keys_refused(1)
    assert read(source, "dm2_messages_refused_total", reason="schema") == 2
    assert read(source, "dm2_peers_refused_total", role="learner") == 1
    assert read(source, "dm2_peers_banned_total", role="actor") == 1
    assert read(source, "dm2_peers_banned_total", role="launcher") == 0
    assert read(source, "dm2_keys_refused_total") == 2


def test_skipped_gradient_steps_are_counted_by_network(learner: LearnerMetrics) -> None:
    learner.nonfinite("critic")
    assert read(learner, "dm2_learner_nonfinite_total", what="critic") == 1
    assert read(learner, "dm2_learner_nonfinite_total", what="policy") == 0


def test_the_document_is_the_table() -> None:
    document = (ROOT / "docs" / "metrics.md").read_text()
    assert document == catalogue.markdown(), (
        "write it again: python -m monitoring.metrics > docs/metrics.md"
    )
    for row in catalogue.TABLE:
        assert f"`{row.name}`" in document
