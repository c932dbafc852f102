"""What all actors of a run have played, also those that are gone: totals that never fall.

Fed with the heartbeats that `launch.head` holds; shown by `launch.head_main`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dm2_dist.comms import messages
from launch.status import Peer


@dataclass(slots=True)
class Work:
    """Env steps and episodes of all actors since the head started, all kinds of tickets."""

    _newest: dict[str, messages.ActorBeat] = field(default_factory=dict)
    _env_steps: int = 0
    _episodes: int = 0

    def note(self, peers: Mapping[str, Peer]) -> None:
        """Take in the newest heartbeats; those of a replaced incarnation are closed."""
        for peer in list(peers.values()):
            beat = peer.beat
            if not isinstance(beat, messages.ActorBeat):
                continue
            before = self._newest.get(beat.source.name)
            if before is not None and before.source != beat.source:
                self._env_steps += before.env_steps
                self._episodes += before.episodes
            self._newest[beat.source.name] = beat

    @property
    def env_steps(self) -> int:
        """Environment steps played."""
        return self._env_steps + sum(beat.env_steps for beat in self._newest.values())

    @property
    def episodes(self) -> int:
        """Episodes played."""
        return self._episodes + sum(beat.episodes for beat in self._newest.values())
