"""Demonstrations: what each agent of an expert team saw, in safetensors with a JSON card.

A demonstration set is a folder: `demonstrations.json` (who, which map, how good) and one
`agent_<k>.safetensors` per agent with the arrays of `dm2_dist.trajectory.Slice`. Episode j of every
agent is the same joint episode. Written by `launch.record`; read by `learners.main`.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from dm2_dist import containment
from dm2_dist.run_directory import write_atomically
from dm2_dist.trajectory import SLICE_FIELDS, Slice, slice_of

_CARD = "demonstrations.json"


class DemonstrationsError(Exception):
    """Demonstrations that cannot be used; the message names the folder and the mend."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a demonstration set is.

    policies: [K] identity of each seat's policy, `<version>:<sha256 prefix>`.
    seeds: one per episode, as decimal strings (64 bits do not fit every JSON reader).
    returns, lengths, won: one per episode.
    """

    env: str
    map: str
    num_agents: int
    observation_size: int
    num_actions: int
    episodes: int
    greedy: bool
    run: str
    policies: tuple[str, ...]
    seeds: tuple[str, ...]
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    won: tuple[bool, ...]

    @property
    def win_rate(self) -> float:
        """Fraction of recorded battles won: the demonstrators' level."""
        return float(np.mean(self.won))


def write(folder: Path, card: Card, slices: Sequence[Slice]) -> None:
    """Write a set; the card comes last, so a folder with a card is whole.

    Args:
        folder: created if missing; must not hold a set already.
        card: facts about the set.
        slices: [K] one per agent, the same episodes in the same order.

    Raises:
        DemonstrationsError: the folder holds a set already or cannot be written.
    """
    check_free(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for agent, part in enumerate(slices):
            arrays = {name: np.ascontiguousarray(getattr(part, name)) for name in SLICE_FIELDS}
            write_atomically(folder / f"agent_{agent}.safetensors", safetensors.numpy.save(arrays))
        write_atomically(folder / _CARD, json.dumps(asdict(card)).encode())
    except OSError as error:
        raise DemonstrationsError(f"{folder} cannot be written: {error.strerror}") from error


def check_free(folder: Path) -> None:
    """Refuse a folder that holds a set already or cannot be written, before anything is played.

    Raises:
        DemonstrationsError: it does, or it cannot.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise DemonstrationsError(f"{folder} cannot be written: {there} is a file; choose another")
    if not os.access(there, os.W_OK):
        raise DemonstrationsError(
            f"{folder} cannot be written: no rights in {there}; choose another"
        )
    if (folder / _CARD).exists():
        raise DemonstrationsError(f"{folder} already holds demonstrations; choose another --output")


def read_card(folder: Path) -> Card:
    """The facts about a set.

    Raises:
        DemonstrationsError: no set there, or a damaged card.
    """
    try:
        document: dict[str, Any] = json.loads((folder / _CARD).read_text())
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in document.items()
        }
        return Card(**fields)
    except FileNotFoundError:
        raise DemonstrationsError(
            f"{folder} holds no demonstrations ({_CARD} is missing); record some with `dm2 record`"
        ) from None
    except NotADirectoryError:
        raise DemonstrationsError(
            f"{folder} is a file; name the folder that `dm2 record` wrote"
        ) from None
    except OSError as error:
        raise DemonstrationsError(
            f"{folder / _CARD} cannot be read ({error.strerror}); grant the rights, or bring the "
            "file back"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DemonstrationsError(
            f"{folder / _CARD} is damaged ({error}); record the demonstrations anew"
        ) from error


def check(folder: Path, map_name: str, sizes: tuple[int, int, int], episodes: int) -> Card:
    """Refuse a set that does not fit a run.

    Args:
        folder: the set.
        map_name: name of the run's map; of a scenario, the name that stands in it.
        sizes: (number of agents, observation size, number of actions) of the run's map.
        episodes: demonstrations the run draws from.

    Raises:
        DemonstrationsError: another map, another size, or too few episodes.
    """
    if escape := containment.first_escape(folder, ()):
        raise DemonstrationsError(
            f"{escape} is a link or a special file, which may lead out of the folder; put the file "
            "itself in its place"
        )
    card = read_card(folder)
    if card.map != map_name:
        raise DemonstrationsError(
            f"{folder} was recorded on {card.map} but the run plays {map_name}; "
            f"record on {map_name}, or play {card.map}"
        )
    found = (card.num_agents, card.observation_size, card.num_actions)
    if found != sizes:
        raise DemonstrationsError(
            f"{folder} has (agents, observation size, actions) = {found} but the run has {sizes}; "
            f"record anew with the run's environment settings"
        )
    if card.episodes < episodes:
        raise DemonstrationsError(
            f"{folder} holds {card.episodes} episodes but imitation.demonstration_episodes is "
            f"{episodes}; record more or lower --imitation.demonstration-episodes"
        )
    return card


def digest(folder: Path) -> str:
    """SHA-256 over the set's card and arrays, hexadecimal: equal means the same demonstrations."""
    total = hashlib.sha256()
    for path in [folder / _CARD, *sorted(folder.glob("agent_*.safetensors"))]:
        total.update(path.name.encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def read_agent(folder: Path, agent: int, episodes: int) -> Slice:
    """The first `episodes` episodes of one agent.

    Raises:
        DemonstrationsError: the file is missing, damaged or holds fewer.
    """
    path = folder / f"agent_{agent}.safetensors"
    try:
        arrays = safetensors.numpy.load_file(path)
        whole = slice_of({name: arrays[name] for name in SLICE_FIELDS})
    except OSError as error:
        # The library of the format puts the path into what it says, and no errno.
        what = error.strerror or ("no such file" if not path.exists() else str(error))
        raise DemonstrationsError(
            f"{path} cannot be read ({what}); bring the file back, or record the demonstrations "
            "anew"
        ) from error
    except (KeyError, safetensors.SafetensorError) as error:
        raise DemonstrationsError(
            f"{path} is damaged ({error}); record the demonstrations anew"
        ) from error
    if whole.num_episodes < episodes:
        raise DemonstrationsError(
            f"{path} holds {whole.num_episodes} episodes and {episodes} are needed; record more, "
            "or lower --imitation.demonstration-episodes"
        )
    return first_episodes(whole, episodes)


def first_episodes(whole: Slice, episodes: int) -> Slice:
    """The first `episodes` episodes of a slice."""
    rows = int(whole.length[:episodes].sum())
    ends = {
        "observation": rows + episodes,
        "available_actions": rows + episodes,
        "alive": rows + episodes,
    }
    ends |= {"action": rows, "behaviour_log_prob": rows, "reward": rows}
    return slice_of(
        {name: getattr(whole, name)[: ends.get(name, episodes)] for name in SLICE_FIELDS}
    )
