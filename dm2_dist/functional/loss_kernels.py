"""Losses of policies and critics and their gradients on the CPU, one pass over the rows.

Every array of numbers is float32 unless said, M rows of A actions. A policy's row i belongs to
action row `row[i]`, so nothing is gathered. Of the shifted logits z = logits - max,

    log pi = z - log sum exp z,   H = log sum exp z - E z,   dH/dlogits = -pi (z - E z),

so each logit takes one exponential. Rows of weight 0 have no gradient and no influence. Used by
`functional.ppo` and `functional.policy_gradient`.
"""

# Compiled kernels take arrays one by one.
# ruff: noqa: PLR0913, PLR0917

import numpy as np
import numpy.typing as npt

from dm2_dist.functional.compiled import inner, kernel

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_ZERO, _ONE, _HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_UNAVAILABLE = np.float32(-1e10)


@inner
def _softmax(
    logits: F32, unavailable: Bool, i: int, r: int, shifted: F32, probability: F32
) -> tuple[np.float32, np.float32]:
    """Softmax over the legal actions of row i, that of action row r.

    Args:
        logits: [M, A].
        unavailable: [R, A].
        i: row of the logits.
        r: action row.
        shifted: [A] receives z.
        probability: [M, A] its row i receives pi.

    Returns:
        log sum exp z, and E z.
    """
    largest = _UNAVAILABLE
    for j in range(shifted.shape[0]):
        value = _UNAVAILABLE if unavailable[r, j] else logits[i, j]
        shifted[j] = value
        largest = value if value > largest else largest
    total = _ZERO
    for j in range(shifted.shape[0]):
        shifted[j] -= largest
        value = _ZERO if unavailable[r, j] else np.exp(shifted[j])
        probability[i, j] = value
        total += value
    mean = _ZERO
    for j in range(shifted.shape[0]):
        probability[i, j] /= total
        mean += probability[i, j] * shifted[j]
    return np.log(total), mean


@inner
def _of_logits(
    i: int,
    action: int,
    of_taken: np.float32,
    of_entropy: np.float32,
    mean: np.float32,
    shifted: F32,
    gradient: F32,
) -> None:
    """Turn row i of `gradient` from pi into the gradient of the logits.

    Args:
        i: the row.
        action: the action taken.
        of_taken: gradient of its log-probability.
        of_entropy: gradient of the entropy.
        mean: E z.
        shifted: [A] z.
        gradient: [M, A].
    """
    for j in range(shifted.shape[0]):
        gradient[i, j] *= -(of_taken + of_entropy * (shifted[j] - mean))
    gradient[i, action] += of_taken


@inner
def _count(weight: F32) -> float:
    """Sum of the weights, at least one."""
    total = 0.0
    for i in range(weight.shape[0]):
        total += weight[i]
    return max(total, 1.0)


@kernel
def clipped_policy(
    logits: F32,
    unavailable: Bool,
    action: I64,
    row: I64,
    proximal: F32,
    behaviour_ratio: F32,
    advantage: F32,
    weight: F32,
    clip: float,
    entropy_coefficient: float,
    shifted: F32,
    gradient: F32,
    means: F64,
) -> None:
    """The decoupled clipped surrogate with its entropy bonus.

    Args:
        logits: [M, A].
        unavailable: [R, A] true where an action is illegal.
        action: [R] the action taken.
        row: [M] action row of each row.
        proximal: [M] log q of the action taken.
        behaviour_ratio: [M] q/b, capped.
        advantage: [M] normalised.
        weight: [M] 1 where the row counts, else 0.
        clip: eps.
        entropy_coefficient: weight of the entropy bonus.
        shifted: [A] scratch.
        gradient: [M, A] receives the gradient of the logits.
        means: float64 [4] receives surrogate, entropy, approximate divergence and clipped fraction.
    """
    count = _count(weight)
    lowest, highest, reach = np.float32(1.0 - clip), np.float32(1.0 + clip), np.float32(clip)
    means[:] = 0.0
    for i in range(logits.shape[0]):
        if weight[i] == _ZERO:
            gradient[i] = _ZERO
            continue
        r = row[i]
        log_total, mean = _softmax(logits, unavailable, i, r, shifted, gradient)
        log_ratio = shifted[action[r]] - log_total - proximal[i]
        ratio = np.exp(log_ratio)
        limited = highest if ratio > highest else (lowest if ratio < lowest else ratio)
        plain = ratio * advantage[i]
        stopped = limited * advantage[i] < plain
        gain = limited * advantage[i] if stopped else plain
        share = np.float32(weight[i] / count)
        of_taken = _ZERO if stopped else -share * behaviour_ratio[i] * plain
        of_entropy = -share * np.float32(entropy_coefficient)
        _of_logits(i, action[r], of_taken, of_entropy, mean, shifted, gradient)
        means[0] -= weight[i] * behaviour_ratio[i] * gain
        means[1] += weight[i] * (log_total - mean)
        means[2] += weight[i] * (ratio - _ONE - log_ratio)
        means[3] += weight[i] * (_ONE if abs(ratio - _ONE) > reach else _ZERO)
    for j in range(4):
        means[j] /= count


@kernel
def weighted_policy(
    logits: F32,
    unavailable: Bool,
    action: I64,
    row: I64,
    behaviour: F32,
    advantage: F32,
    weight: F32,
    maximum: float,
    entropy_coefficient: float,
    shifted: F32,
    gradient: F32,
    ratios: F32,
    means: F64,
) -> None:
    """The policy gradient weighted with the capped ratio to the behaviour policy.

    Args:
        logits: [M, A].
        unavailable: [R, A] true where an action is illegal.
        action: [R] the action taken.
        row: [M] action row of each row.
        behaviour: [M] log mu of the action taken.
        advantage: [M] in the units of the critic.
        weight: [M] 1 where the row counts, else 0.
        maximum: cap of the ratio.
        entropy_coefficient: weight of the entropy bonus.
        shifted: [A] scratch.
        gradient: [M, A] receives the gradient of the logits.
        ratios: [M] receives the ratio, not capped; 0 in rows of weight 0.
        means: float64 [2] receives surrogate and entropy.
    """
    count = _count(weight)
    cap = np.float32(maximum)
    means[:] = 0.0
    for i in range(logits.shape[0]):
        if weight[i] == _ZERO:
            gradient[i] = _ZERO
            ratios[i] = _ZERO
            continue
        r = row[i]
        log_total, mean = _softmax(logits, unavailable, i, r, shifted, gradient)
        taken = shifted[action[r]] - log_total
        ratio = np.exp(taken - behaviour[i])
        ratios[i] = ratio
        share = np.float32(weight[i] / count)
        factor = (cap if ratio > cap else ratio) * advantage[i]
        of_entropy = -share * np.float32(entropy_coefficient)
        _of_logits(i, action[r], -share * factor, of_entropy, mean, shifted, gradient)
        means[0] -= weight[i] * factor * taken
        means[1] += weight[i] * (log_total - mean)
    for j in range(2):
        means[j] /= count


@inner
def _huber(error: np.float32, delta: np.float32) -> np.float32:
    """Huber's loss."""
    size = abs(error)
    return _HALF * error * error if size <= delta else delta * (size - _HALF * delta)


@kernel
def clipped_value(
    value: F32, start: F32, target: F32, weight: F32, clip: float, huber_delta: float, gradient: F32
) -> float:
    """Mean of the larger of the unclipped and the clipped Huber loss.

    Args:
        value: [M] V.
        start: [M] V at the start of the iteration.
        target: [M] what V is to be.
        weight: [M] 1 where the row counts, else 0.
        clip: how far V may move.
        huber_delta: width of the quadratic part.
        gradient: [M] receives the gradient of V.
    """
    count = _count(weight)
    reach, delta = np.float32(clip), np.float32(huber_delta)
    total = 0.0
    for i in range(value.shape[0]):
        moved = value[i] - start[i]
        limited = reach if moved > reach else (-reach if moved < -reach else moved)
        error = target[i] - value[i]
        plain, stopped = _huber(error, delta), _huber(target[i] - (start[i] + limited), delta)
        # What is not a number is not equal to itself either, and passes.
        larger = plain if limited == moved or plain >= stopped else stopped
        slope = -(delta if error > delta else (-delta if error < -delta else error))
        passes = limited == moved or not stopped > plain
        gradient[i] = slope * np.float32(weight[i] / count) if passes else _ZERO
        total += weight[i] * larger
    return total / count
