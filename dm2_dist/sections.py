"""The sections of the configuration: frozen, one per owner, read by `dm2_dist.config`.

Every default is the one of the DM2 paper where it states one.
"""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["episodes", "unrolls"]
LagCorrection = Literal["none", "decoupled", "vtrace"]


@dataclass(frozen=True, kw_only=True)
class CollectionConfig:
    """What one iteration plays."""

    episodes_per_iteration: int = 256
    """B: whole episodes per iteration."""
    episodes_per_ticket: int = 8
    """E: episodes an actor plays side by side; fixes the shapes of its arithmetic."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Policy and critic, separate for every agent: two ReLU layers, GRU, linear head."""

    hidden_size: int = 64
    """H: width of every hidden layer and of the GRU."""
    policy_head_gain: float = 0.01
    """Gain of the orthogonal initialisation of the policy's output layer."""


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """PPO on one agent's trajectories (reference defaults of the DM2 paper, Table 1)."""

    learning_rate: float = 5e-4
    """Adam step size of the policy and of the critic."""
    adam_epsilon: float = 1e-5
    """Added to Adam's denominator."""
    epochs: int = 10
    """Passes over the batch per iteration."""
    minibatches: int = 1
    """Gradient steps per epoch; chunks are dealt to minibatches at random."""
    clip: float = 0.05
    """epsilon: clipping range of the importance ratio and, in normalised units, of the value."""
    discount: float = 0.99
    """gamma: weight of the next step's value."""
    gae_lambda: float = 0.95
    """lambda of generalised advantage estimation."""
    entropy_coefficient: float = 0.01
    """Weight of the entropy bonus in the policy loss."""
    value_coefficient: float = 0.5
    """Weight of the value loss before its gradient is clipped."""
    huber_delta: float = 10.0
    """Width of the quadratic part of the Huber loss."""
    max_gradient_norm: float = 10.0
    """Clip of the global gradient norm, of policy and critic separately."""
    chunk_length: int = 10
    """L: steps of back-propagation through time."""
    max_behaviour_ratio: float = 2.0
    """Cap of pi_proximal / mu in the decoupled objective; matters only when policies lag."""
    lag_correction: LagCorrection = "decoupled"
    """What is done about data of an older policy. `decoupled`: each row counts pi_proximal / mu
    times. `vtrace`: that, and advantages and value targets by V-trace. `none`: the data is taken
    for the policy's own."""
    trace_rho: float = 1.0
    """rho of V-trace: cap of the ratio before a temporal difference. Read by `vtrace` only."""
    trace_c: float = 1.0
    """c of V-trace: cap of the ratio before the trace, at most trace_rho. Read by `vtrace` only."""


@dataclass(frozen=True, kw_only=True)
class ImpalaConfig:
    """Algorithm `impala`: V-trace policy gradient, one pass over each batch.

    Defaults are IMPALA's for Atari (Espeholt et al. 2018, table D.1) where they carry over. Its
    rewards are clipped to [-1, 1]; here advantages and values are in units of the returns' standard
    deviation. Its optimiser is RMSprop on sums, here it is Adam on means.
    """

    learning_rate: float = 6e-4
    """Adam step size of the policy and of the critic."""
    adam_epsilon: float = 1e-5
    """Added to Adam's denominator."""
    minibatches: int = 8
    """Gradient steps per iteration, each on its own part of the batch; 256 episodes in 8 parts are
    the 32 of the reference."""
    discount: float = 0.99
    """gamma: weight of the next step's value."""
    decay: float = 1.0
    """lambda of V-trace: 1 follows the rewards to the end of the episode."""
    rho: float = 1.0
    """Cap of pi / mu before a temporal difference: decides what the values converge to."""
    c: float = 1.0
    """Cap of pi / mu before the trace, at most rho: decides how fast."""
    policy_rho: float = 1.0
    """Cap of pi / mu before the policy gradient."""
    entropy_coefficient: float = 0.01
    """Weight of the entropy bonus in the policy loss."""
    value_coefficient: float = 0.5
    """Weight of the squared error of the critic before its gradient is clipped."""
    max_gradient_norm: float = 40.0
    """Clip of the global gradient norm, of policy and critic separately."""
    chunk_length: int = 20
    """L: steps of back-propagation through time."""


@dataclass(frozen=True, kw_only=True)
class ImitationConfig:
    """The discriminator of agent k, which sees its own local observation only."""

    reward_coefficient: float = 0.3
    """c in `reward = env + c * logit`."""
    steps: int = 120
    """Discriminator gradient steps per iteration."""
    episodes_per_step: int = 64
    """Distinct episodes drawn from either side per step; their valid rows are used."""
    demonstration_episodes: int = 1000
    """Episodes taken from the start of the demonstration file."""
    learning_rate: float = 1e-3
    """Adam step size of the discriminator."""
    match_living_time: bool = True
    """Compare visits per episode, not only observations given life: adds log(n_E / n) of the living
    steps per episode to the logit. Without it, a team that is told apart earns by dying early."""
    gradient_penalty: float = 10.0
    """Weight of the penalty (||grad logit|| - 1)^2 on interpolated observations."""
    hidden_size: int = 64
    """Width of the discriminator's two hidden layers."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Greedy episodes that measure, never train."""

    interval_env_steps: int = 50_000
    """Training env steps between evaluations; the final policy is always evaluated."""
    episodes: int = 32
    """Fresh greedy episodes per evaluation."""


@dataclass(frozen=True, kw_only=True)
class GamesConfig:
    """How games outside of our processes are kept; read only with env smac."""

    version: str = ""
    """Game version such as 4.10 or 4.6.2; the newest one that is installed unless given."""
    answer_seconds: float = 60.0
    """A game that has not answered for so long is killed and started again."""
    start_seconds: float = 180.0
    """Longest start of a game, until its first battle stands."""
    concurrent_launches: int = 2
    """Games that may be starting at once, over all actors of the machine."""
    launches_allowed: int = 6
    """Launches in a row without one finished episode, after which an actor gives up."""
    recycle_episodes: int = 1000
    """Episodes after which a game gives way to a fresh one. 1: each battle has its own game, which
    is seeded with the episode's seed."""
    memory_limit_mb: int = 4096
    """MiB; a game that occupies more gives way to a fresh one after its episode."""


@dataclass(frozen=True, kw_only=True)
class AsynchronyConfig:
    """The schedule `async`; read only there."""

    max_lag: int = 2
    """Most versions between the policies that played an iteration and the one that trains on it. No
    ticket further ahead is given out, so nothing is thrown away for its age."""
    unit: Unit = "episodes"
    """What one place of a ticket holds: a whole episode, or an unroll of fixed length that goes on
    where that actor's last one ended."""
    unroll_length: int = 20
    """Environment steps of an unroll."""
