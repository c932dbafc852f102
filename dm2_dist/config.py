"""The configuration: frozen, complete, one section per owner.

Every result of a run is a function of this object alone: batch shapes, seeds, thread counts and
devices are here, the number of actors is not. Nothing is filled in at run time; derived values are
properties.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

Algorithm = Literal["ippo", "dm2"]
Schedule = Literal["sync", "pipelined"]
Device = Literal["cpu", "cuda"]
Environment = Literal["skirmish", "smac"]


class ConfigError(ValueError):
    """A configuration that cannot work; the message names the keys and the mend."""


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
class RunConfig:
    """Everything a run depends on."""

    preset: str = "default"
    """Name of the preset this configuration started from."""
    env: Environment = "skirmish"
    """`skirmish`: the embedded simulator. `smac`: StarCraft II, one game for each actor."""
    map: str = "3m"
    """SMAC map name, or path of a scenario (.toml or .json)."""
    scenario_sha256: str = ""
    """Digest of that scenario; the launcher fills it in, and refuses another one afterwards."""
    algorithm: Algorithm = "ippo"
    """`ippo`: task reward only. `dm2`: task reward plus each agent's own discriminator."""
    schedule: Schedule = "pipelined"
    """`sync`: lag 0, the paper's Algorithm 1. `pipelined`: lag exactly 1, actors never wait."""
    seed: int = 0
    """Keys every random draw of the run."""
    max_env_steps: int = 1_000_000
    """Training env steps; the run ends with the iteration that reaches them."""
    demonstrations: str = ""
    """Directory of recorded demonstrations; needed by `dm2`."""
    demonstrations_sha256: str = ""
    """Digest of that directory; the launcher fills it in, and refuses another one afterwards."""
    device: Device = "cpu"
    """`cpu`, or `cuda`: learner k uses device k modulo the number of devices."""
    learner_threads: int = 1
    """Threads of each learner's arithmetic; rounding may depend on them, hence configured."""
    collection: CollectionConfig = field(default_factory=CollectionConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    games: GamesConfig = field(default_factory=GamesConfig)

    def __post_init__(self) -> None:
        """Refuse combinations that cannot work, naming the keys."""
        _check_positive(self)
        if self.algorithm not in typing.get_args(Algorithm):
            raise ConfigError(f"algorithm is {self.algorithm!r}; choose ippo or dm2")
        if self.schedule not in typing.get_args(Schedule):
            raise ConfigError(f"schedule is {self.schedule!r}; choose sync or pipelined")
        _check_environment(self)
        if self.device not in typing.get_args(Device):
            raise ConfigError(f"device is {self.device!r}; choose cpu or cuda")
        if self.algorithm == "ippo" and self.demonstrations:
            raise ConfigError(
                "demonstrations are given but algorithm is ippo, which never reads them; "
                "choose algorithm dm2 or leave demonstrations out"
            )
        if self.imitation.episodes_per_step > self.collection.episodes_per_iteration:
            raise ConfigError(
                "imitation.episodes_per_step is larger than collection.episodes_per_iteration; "
                "a discriminator step draws distinct episodes of one iteration"
            )
        if self.imitation.episodes_per_step > self.imitation.demonstration_episodes:
            raise ConfigError(
                "imitation.episodes_per_step is larger than imitation.demonstration_episodes; "
                "a discriminator step draws distinct demonstrations"
            )

    @property
    def uses_demonstrations(self) -> bool:
        """Whether the learners own a discriminator."""
        return self.algorithm == "dm2"

    @property
    def plays_scenario(self) -> bool:
        """Whether `map` is the path of a scenario, not the name of a map."""
        return self.map.endswith((".toml", ".json"))


def _check_environment(config: RunConfig) -> None:
    """StarCraft II plays SMAC's maps, one battle at a time."""
    if config.env not in typing.get_args(Environment):
        raise ConfigError(f"env is {config.env!r}; choose skirmish or smac")
    if config.env != "smac":
        return
    if config.plays_scenario:
        raise ConfigError(
            f"map is {config.map!r} and env is smac, but a scenario is played by the embedded "
            "simulator only; choose env skirmish or a map of SMAC"
        )
    if config.collection.episodes_per_ticket != 1:
        raise ConfigError(
            f"collection.episodes_per_ticket is {config.collection.episodes_per_ticket} and env is "
            "smac, but a game plays one battle at a time; leave it out or choose 1"
        )
    if not (config.games.answer_seconds >= 1 and config.games.start_seconds >= 1):
        raise ConfigError(
            "games.answer_seconds and games.start_seconds must be at least 1 second each"
        )


def _check_positive(config: RunConfig) -> None:
    """Every whole number but the seed counts something: it must be at least 1."""
    for key, value in flatten(config).items():
        if isinstance(value, int) and not isinstance(value, bool) and key != "seed" and value < 1:
            raise ConfigError(f"{key} is {value}; it must be at least 1")
        if isinstance(value, float) and not value >= 0.0:
            raise ConfigError(f"{key} is {value}; it must be zero or more")
    if config.seed < 0:
        raise ConfigError(f"seed is {config.seed}; it must be zero or more")


def flatten(config: RunConfig) -> dict[str, Any]:
    """All leaf values by dotted key, for instance `ppo.clip`."""
    leaves: dict[str, Any] = {}
    for key, value in dataclasses.asdict(config).items():
        if isinstance(value, dict):
            leaves |= {f"{key}.{inner}": leaf for inner, leaf in value.items()}
        else:
            leaves[key] = value
    return leaves


def differences(before: RunConfig, after: RunConfig) -> list[str]:
    """Sentences such as `seed: 1 before, 2 now`, one per key that differs."""
    old, new = flatten(before), flatten(after)
    return [f"{key}: {old[key]} before, {new[key]} now" for key in old if old[key] != new[key]]


def to_json(config: RunConfig) -> str:
    """Serialise; `from_json` reads exactly this back."""
    return json.dumps(dataclasses.asdict(config), indent=2)


def from_json(text: str) -> RunConfig:
    """Read a configuration back.

    Raises:
        ConfigError: not JSON, an unknown key or a value of the wrong type.
    """
    try:
        config: RunConfig = _parse(RunConfig, json.loads(text), "")
        return config
    except json.JSONDecodeError as error:
        raise ConfigError(f"the configuration is not JSON: {error}") from error


def _parse(cls: Any, value: Any, prefix: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{prefix or 'the configuration'} must be a table of keys")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise ConfigError(f"unknown key {prefix}{unknown[0]}")
    return cls(**{key: _leaf(hints[key], leaf, f"{prefix}{key}") for key, leaf in value.items()})


def _leaf(hint: Any, value: Any, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _parse(hint, value, f"{key}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if typing.get_origin(hint) is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ConfigError(f"{key} is {value!r}; choose one of {', '.join(map(str, allowed))}")
        return value
    if type(value) is not hint:
        raise ConfigError(f"{key} is {value!r}; expected {hint.__name__}")
    return value
