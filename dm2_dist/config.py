"""The configuration: frozen, complete, one section per owner (`dm2_dist.sections`).

Every result of a run is a function of this object alone: batch shapes, seeds, thread counts and
devices are here, the number of actors is not. Nothing is filled in at run time; derived values are
properties.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from dm2_dist.sections import (
    AsynchronyConfig,
    CollectionConfig,
    EvaluationConfig,
    GamesConfig,
    ImitationConfig,
    ImpalaConfig,
    LagCorrection,
    NetworkConfig,
    PPOConfig,
    Unit,
)

Algorithm = Literal["ippo", "dm2", "impala"]
Schedule = Literal["sync", "pipelined", "async"]
Device = Literal["cpu", "cuda"]
Environment = Literal["skirmish", "smac", "sleep"]


class ConfigError(ValueError):
    """A configuration that cannot work; the message names the keys and the mend."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run depends on."""

    preset: str = "default"
    """Preset to start from; `dm2 presets` lists them."""
    env: Environment = "skirmish"
    """`skirmish`: the embedded simulator. `smac`: StarCraft II, one game for each actor. `sleep`:
    stand-in for a slow game in benchmarks, 10 ms sleep per step, not StarCraft II."""
    map: str = "3m"
    """SMAC map name, or path of a scenario (.toml or .json)."""
    scenario_sha256: str = ""
    """Digest of that scenario; the launcher fills it in, and refuses another one afterwards."""
    algorithm: Algorithm = "ippo"
    """`ippo`: task reward only. `dm2`: task reward plus each agent's own discriminator. `impala`:
    task reward only, V-trace policy gradient instead of PPO."""
    schedule: Schedule = "pipelined"
    """`sync`: lag 0, the paper's Algorithm 1. `pipelined`: lag exactly 1. `async`: actors run free
    with the newest parameters, at most `asynchrony.max_lag` behind; not repeatable."""
    seed: int = 0
    """Seed of every random draw of the run."""
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
    asynchrony: AsynchronyConfig = field(default_factory=AsynchronyConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    impala: ImpalaConfig = field(default_factory=ImpalaConfig)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    games: GamesConfig = field(default_factory=GamesConfig)

    def __post_init__(self) -> None:
        """Refuse combinations that cannot work, naming the keys."""
        _check_positive(self)
        if self.algorithm not in typing.get_args(Algorithm):
            raise ConfigError(f"algorithm is {self.algorithm!r}; choose ippo, dm2 or impala")
        if self.schedule not in typing.get_args(Schedule):
            raise ConfigError(f"schedule is {self.schedule!r}; choose sync, pipelined or async")
        _check_environment(self)
        if self.asynchrony.unit not in typing.get_args(Unit):
            raise ConfigError(
                f"asynchrony.unit is {self.asynchrony.unit!r}; choose episodes or unrolls"
            )
        if self.asynchrony.unit == "unrolls" and self.schedule != "async":
            raise ConfigError(
                f"asynchrony.unit is unrolls but schedule is {self.schedule}, which plays whole "
                "episodes; choose schedule async or leave asynchrony.unit out"
            )
        if self.device not in typing.get_args(Device):
            raise ConfigError(f"device is {self.device!r}; choose cpu or cuda")
        if self.demonstrations and not self.uses_demonstrations:
            raise ConfigError(
                f"demonstrations are given but algorithm is {self.algorithm}, which never reads "
                "them; choose algorithm dm2 or leave demonstrations out"
            )
        _check_traces(self)
        if self.uses_demonstrations:
            _check_draws(self)

    @property
    def uses_demonstrations(self) -> bool:
        """Whether the learners own a discriminator."""
        return self.algorithm == "dm2"

    @property
    def chunk_length(self) -> int:
        """L: steps of back-propagation through time."""
        return self.impala.chunk_length if self.algorithm == "impala" else self.ppo.chunk_length

    @property
    def plays_unrolls(self) -> bool:
        """Whether tickets hold unrolls of fixed length instead of whole episodes."""
        return self.schedule == "async" and self.asynchrony.unit == "unrolls"

    @property
    def max_lag(self) -> int:
        """Most versions between the policies that play an iteration and the one that trains."""
        return {"sync": 0, "pipelined": 1, "async": self.asynchrony.max_lag}[self.schedule]

    @property
    def plays_scenario(self) -> bool:
        """Whether `map` is the path of a scenario, not the name of a map."""
        return self.map.endswith((".toml", ".json"))


def _check_environment(config: RunConfig) -> None:
    """StarCraft II plays SMAC's maps; it and its stand-in play one battle at a time."""
    if config.env not in typing.get_args(Environment):
        raise ConfigError(f"env is {config.env!r}; choose skirmish, smac or sleep")
    if config.env == "skirmish":
        return
    if config.env == "smac" and config.plays_scenario:
        raise ConfigError(
            f"map is {config.map!r} and env is smac, but a scenario is played by the embedded "
            "simulator only; choose env skirmish or a map of SMAC"
        )
    if config.collection.episodes_per_ticket != 1:
        raise ConfigError(
            f"collection.episodes_per_ticket is {config.collection.episodes_per_ticket} and env is "
            f"{config.env}, but a game plays one battle at a time; leave it out or choose 1"
        )
    too_short = not (config.games.answer_seconds >= 1 and config.games.start_seconds >= 1)
    if config.env == "smac" and too_short:
        raise ConfigError(
            "games.answer_seconds and games.start_seconds must be at least 1 second each"
        )


def _check_draws(config: RunConfig) -> None:
    """A discriminator step draws distinct episodes from either side."""
    drawn = config.imitation.episodes_per_step
    for key, available, of in (
        (
            "collection.episodes_per_iteration",
            config.collection.episodes_per_iteration,
            "episodes of one iteration",
        ),
        (
            "imitation.demonstration_episodes",
            config.imitation.demonstration_episodes,
            "demonstrations",
        ),
    ):
        if drawn > available:
            raise ConfigError(
                f"imitation.episodes_per_step is {drawn} and {key} is {available}, but a "
                f"discriminator step draws distinct {of}; choose imitation.episodes_per_step no "
                f"larger than {available}"
            )


def _check_traces(config: RunConfig) -> None:
    """V-trace converges only if it trusts a step no less than it trusts the trace through it."""
    ppo, impala = config.ppo, config.impala
    if ppo.lag_correction not in (allowed := typing.get_args(LagCorrection)):
        raise ConfigError(
            f"ppo.lag_correction is {ppo.lag_correction!r}; choose one of {', '.join(allowed)}"
        )
    for upper, rho, lower, c in (
        ("ppo.trace_rho", ppo.trace_rho, "ppo.trace_c", ppo.trace_c),
        ("impala.rho", impala.rho, "impala.c", impala.c),
    ):
        if c > rho:
            raise ConfigError(f"{lower} is {c} and {upper} is {rho}; choose {upper} no smaller")


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
