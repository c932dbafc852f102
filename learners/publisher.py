"""A learner's parameter versions: published once, named again each second, given out on request.

Parameters are state, not a stream: whoever missed a publication sees the version in the beacon and
asks for it. Fed by `learners.intake`, which owns the sockets; the bytes go to `actors.session`.
"""

from collections import OrderedDict
from pathlib import Path

from dm2_dist import checkpoint
from dm2_dist.comms import codec, messages
from dm2_dist.comms.sockets import Publisher, Router

_BEACON_SECONDS = 1.0


class Versions:
    """The retained parameter versions of one agent, in memory and on disk.

    env_steps: training env steps up to each retained version.
    retained: how many are kept, unless open tickets need older ones.
    published: versions sent to all subscribers at once; answered: sent to one that asked.
    """

    def __init__(self, agent: int, folder: Path, retained: int) -> None:
        self.env_steps: dict[int, int] = {}
        self._agent = agent
        self._folder = folder
        self.retained = retained
        self._bodies: OrderedDict[int, tuple[bytes, str]] = OrderedDict()
        self._beacon_at = 0.0
        self.published = self.answered = 0

    @property
    def num_bytes(self) -> int:
        """Bytes of the versions in memory."""
        return sum(len(body) for body, _ in self._bodies.values())

    @property
    def newest(self) -> int:
        """The newest version; -1 before the first."""
        return next(reversed(self._bodies), -1)

    def load(self, env_steps: dict[int, int]) -> None:
        """Take up the versions on disk that belong to a commit, after a start."""
        for version in checkpoint.parameter_versions(self._folder):
            if version in env_steps:
                body = checkpoint.load_parameters(self._folder, version)
                self._bodies[version] = (body, codec.digest_of(body))
                self.env_steps[version] = env_steps[version]

    def keep(self, version: int, body: bytes, env_steps: int) -> None:
        """Write a version to disk and hold it; to be followed by the commit that names it."""
        checkpoint.save_parameters(self._folder, version, body)
        self._bodies[version] = (body, codec.digest_of(body))
        self.env_steps[version] = env_steps

    def prune(self, keep_from: int) -> None:
        """Forget versions that no open ticket needs and no restarted peer can ask for."""
        oldest = min(keep_from, self.newest - self.retained + 1)
        for version in [version for version in self._bodies if version < oldest]:
            del self._bodies[version]
            del self.env_steps[version]
        checkpoint.prune_parameters(self._folder, oldest)

    def publish(self, publisher: Publisher, version: int) -> None:
        """Send a version to every subscriber: once, however many they are."""
        self.published += 1
        body, digest = self._bodies[version]
        publisher.publish(
            messages.Parameters(agent=self._agent, version=version, digest=digest), body
        )

    def beacon(self, publisher: Publisher, now: float) -> None:
        """Name the newest version, each second and whenever somebody subscribed."""
        if self.newest < 0 or (
            now - self._beacon_at < _BEACON_SECONDS and not publisher.take_subscribed()
        ):
            return
        self._beacon_at = now
        _, digest = self._bodies[self.newest]
        publisher.publish(messages.Beacon(agent=self._agent, version=self.newest, digest=digest))

    def answer(self, router: Router, peer: bytes, version: int) -> None:
        """Give out one version, or say that it is not there."""
        if version not in self._bodies:
            router.send(peer, messages.Missing(agent=self._agent, version=version))
            return
        self.answered += 1
        body, digest = self._bodies[version]
        router.send(
            peer, messages.Parameters(agent=self._agent, version=version, digest=digest), body
        )
