"""The training loop: take an iteration, update, hand the outcome over."""

import time

import safetensors.torch

from dm2_dist.comms import codec
from learners.independent import IndependentLearner
from learners.intake import Intake
from learners.journal import Trained


def train(learner: IndependentLearner, intake: Intake, env_steps: int) -> None:
    """Train until the handover closes.

    Args:
        learner: networks and optimisers of one agent.
        intake: where iterations come from and outcomes go.
        env_steps: training env steps of the version the learner starts at.
    """
    phases = intake.phases
    mark = time.monotonic()
    while (batch := intake.handover.take()) is not None:
        started = time.monotonic()
        _add(phases, "wait_data", started - mark)
        metrics = learner.update(batch.data, batch.iteration)
        for phase in ("prepare", "discriminator", "ppo"):
            _add(phases, phase, metrics.pop(f"seconds_{phase}", 0.0))
        env_steps += batch.data.env_steps
        metrics["train_win_rate"] = float(batch.data.won.mean())
        metrics["train_return_mean"] = float(batch.data.returns().mean())
        updated = time.monotonic()
        intake.outbox.post(outcome(learner, batch.iteration + 1, env_steps, metrics))
        mark = time.monotonic()
        _add(phases, "checkpoint", mark - updated)


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


def _add(phases: dict[str, float], phase: str, seconds: float) -> None:
    phases[phase] = phases.get(phase, 0.0) + seconds
