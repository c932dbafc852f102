"""Who plays an actor's tickets: whole episodes, or unrolls where the configuration asks for them.

Keeps what may be kept from one ticket to the next: the stacked networks while no version changes,
and in unrolls the running battles. Used by `actors.main`.
"""

from collections.abc import Callable, Sequence

from actors import team
from actors.actor import play_to_the_end
from actors.parameter_cache import Parameters
from actors.unroll import Unrolls
from dm2_dist import snapshot
from dm2_dist import ticket as tickets
from dm2_dist.config import RunConfig
from dm2_dist.envs.interface import BattleBatch, GameLost
from dm2_dist.inference import StackedPolicy
from dm2_dist.ticket import Ticket
from dm2_dist.trajectory import Slice


class Player:
    """Plays tickets with the parameters that it was given last."""

    def __init__(self, config: RunConfig) -> None:
        """Prepare for a run; `take` parameters before the first ticket."""
        self._unrolls = Unrolls(config.asynchrony.unroll_length) if config.plays_unrolls else None
        self._parameters: Sequence[Parameters] = ()
        self._policy: StackedPolicy | None = None
        self._team: team.Team | None = None

    def take(self, parameters: Sequence[Parameters]) -> None:
        """Stack `parameters`, [K], unless they are the same object as the last time."""
        if self._policy is not None and parameters is self._parameters:
            return
        self._parameters = parameters
        if self._unrolls is None:
            self._policy = StackedPolicy([snapshot.policy_of(own) for own in parameters])
        else:
            self._team = team.assemble(parameters)
            self._policy = self._team.policy

    def play(
        self,
        ticket: Ticket,
        battles: BattleBatch,
        on_step: Callable[[], None],
        on_lost: Callable[[GameLost], None],
    ) -> list[Slice]:
        """Play a ticket; see `actor.play_to_the_end` and `unroll.Unrolls.play_unroll`.

        Only training is cut into unrolls. An evaluation uses the same battles, which are given up.
        """
        assert self._policy is not None, "parameters were not taken"
        if self._unrolls is None or ticket.kind != tickets.TRAIN:
            if self._unrolls is not None:
                self._unrolls.forget()
            return play_to_the_end(ticket, self._policy, battles, on_step, on_lost)
        assert self._team is not None, "a team has critics where unrolls are played"
        return self._unrolls.play_unroll(ticket, self._team, battles, on_step, on_lost)
