"""What all actors of a run have played, also those that are gone: totals that never fall.

Fed with the heartbeats that `launch.head` holds; shown by `launch.head_main`. No file of a run but
the one written here tells what the dead have played, or what became of leases.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from dm2_dist import child
from dm2_dist.comms import messages
from launch.dispatcher import LeaseAccount
from launch.status import Peer

_LOG = logging.getLogger(__name__)


class Work:
    """Env steps and episodes of all actors of a run, all kinds of tickets, and ended leases."""

    def __init__(self, file: Path) -> None:
        """Take up what an earlier head of this run wrote down."""
        self._file = file
        self._played: dict[messages.Source, tuple[int, int]] = {}
        self._leases_before = self.leases = {"fulfilled": 0, "reissued": 0}
        try:
            self._take_up(json.loads(file.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            _LOG.warning("totals start at 0 file=%s reason=%s", file, error)

    def _take_up(self, known: Mapping[str, object]) -> None:
        actors, leases = known["actors"], known["leases"]
        if not isinstance(actors, list) or not isinstance(leases, dict):
            raise ValueError("no totals of a head")
        played = {}
        for name, incarnation, env_steps, episodes in actors:
            source = messages.Source(name=str(name), incarnation=int(incarnation))
            played[source] = int(env_steps), int(episodes)
        before = {outcome: int(leases[outcome]) for outcome in self.leases}
        self._played, self._leases_before, self.leases = played, before, dict(before)

    def note(self, peers: Mapping[str, Peer], leases: LeaseAccount) -> None:
        """Take in the newest heartbeats, and what became of this head's leases."""
        for peer in list(peers.values()):
            beat = peer.beat
            if isinstance(beat, messages.ActorBeat):
                self._played[beat.source] = beat.env_steps, beat.episodes
        before = self._leases_before
        self.leases = {
            "fulfilled": before["fulfilled"] + leases.fulfilled,
            "reissued": before["reissued"] + leases.reissued,
        }

    def save(self) -> None:
        """Write it down; done before it is shown, nobody sees a total fall.

        NOTE: not flushed to the disk: it is there for who is killed, and once a second is often.
        """
        draft = self._file.with_name(f".{self._file.name}.{os.getpid()}.tmp")
        actors = [[s.name, s.incarnation, *played] for s, played in self._played.items()]
        try:
            draft.write_text(json.dumps({"actors": actors, "leases": self.leases}))
            draft.rename(self._file)
        except OSError as error:
            _LOG.debug("totals not written reason=%s", child.explain(error))

    @property
    def env_steps(self) -> int:
        """Environment steps played."""
        return sum(env_steps for env_steps, _ in self._played.values())

    @property
    def episodes(self) -> int:
        """Episodes played."""
        return sum(episodes for _, episodes in self._played.values())
