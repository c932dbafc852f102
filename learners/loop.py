"""The training loop: take an iteration, update, hand the outcome over."""

from collections.abc import Callable

import safetensors.torch

from dm2_dist.comms import codec
from dm2_dist.trajectory import Slice
from learners.finiteness import NonFiniteError
from learners.handover import Batch
from learners.independent import IndependentLearner
from learners.intake import Intake
from learners.journal import Trained
from learners.post_mortem import PostMortems, Update


def train(
    learner: IndependentLearner,
    intake: Intake,
    newest: Trained,
    post_mortems: PostMortems,
    on_skipped: Callable[[str], None],
) -> None:
    """Train until the handover closes.

    Args:
        learner: networks and optimisers of one agent.
        intake: where iterations come from and outcomes go.
        newest: what the learner starts at.
        post_mortems: where updates that went wrong are kept.
        on_skipped: called with the name of the network for every skipped gradient step.

    Raises:
        NonFiniteError: the numbers will not come back; nothing of that iteration is handed over.
    """
    budget = intake.budget
    budget.enter("wait_data")
    while (batch := intake.handover.take()) is not None:
        try:
            metrics = _update(learner, batch, newest.state, post_mortems, budget.enter)
        finally:
            budget.enter("other")
            for network, count in learner.skips.counts.items():
                for _ in range(count):
                    on_skipped(network)
        env_steps = newest.env_steps + batch.data.env_steps
        metrics |= results(batch.data)
        budget.enter("checkpoint")
        newest = outcome(learner, batch.iteration + 1, env_steps, metrics)
        intake.outbox.post(newest)
        budget.enter("wait_data")
    budget.enter("other")


def results(data: Slice) -> dict[str, float]:
    """How the episodes went that ended in this iteration; nothing if none did."""
    ended = data.ended
    if not ended.any():
        return {}
    return {
        "train_win_rate": float(data.won[ended].mean()),
        "train_return_mean": float(data.returns()[ended].mean()),
    }


def _update(
    learner: IndependentLearner,
    batch: Batch,
    state: bytes,
    post_mortems: PostMortems,
    enter: Callable[[str], None],
) -> dict[str, float]:
    """Update; keep what it was made of if a step was skipped, or if it cannot go on."""
    made_of = Update(state, batch.data, batch.iteration)
    try:
        metrics = learner.update(batch.data, batch.iteration, enter)
    except NonFiniteError as error:
        raise NonFiniteError(f"{error}; {post_mortems.save(made_of, str(error))}") from error
    if metrics["skipped_steps"]:
        number = int(metrics["skipped_steps"])
        post_mortems.save(made_of, f"{number} gradient steps were not finite and were skipped")
    return metrics


def outcome(
    learner: IndependentLearner, version: int, env_steps: int, metrics: dict[str, float]
) -> Trained:
    """Everything a commit of this version needs."""
    snapshot, _ = codec.encode_parameters(learner.snapshot())
    return Trained(
        version=version,
        env_steps=env_steps,
        state=safetensors.torch.save(learner.state()),
        snapshot=snapshot,
        parameters_sha256=learner.parameters_sha256(),
        metrics=metrics,
    )
