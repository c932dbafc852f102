"""What chaos found: whether the books close, the hashes match, everybody came back. Pure functions.

Fed by `launch.chaos_run`; printed by `launch.chaos`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from launch.chaos_run import Event

REPEATABLE = ("sync", "pipelined")
"""Schedules in which a disturbed run ends with the bits of an undisturbed one."""
BOUNDS: Mapping[str, float] = {"actor": 5.0, "learner": 10.0}
"""Seconds within which a killed role takes part again."""
_ENDED = re.compile(r"\bended name=(\S+) exit_code=(-?\d+) ")
_CAUSED = (0, -9, 70)
"""Ends that chaos caused: orderly, killed, or gone with a killed launcher."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a disturbed run ended.

    problems: one sentence each; none if all is well. kills: hits by role; missed: faults without a
    victim. longest_seconds: until a killed role was back, by role. hashes: `equal`, `different` or
    `not compared`.
    """

    seed: int
    problems: tuple[str, ...]
    kills: dict[str, int]
    missed: int
    longest_seconds: dict[str, float]
    ledger: dict[str, Any]
    hashes: str

    @property
    def ok(self) -> bool:
        """Whether the run kept its promises."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"ok": self.ok}


@dataclass(frozen=True, slots=True)
class Ending:
    """What is there when a disturbed run is over.

    exit_code: of its launcher; failure: why it was given up; empty if it ended by itself.
    summary: empty if there is none; left: processes that stayed. crashes: ends that chaos did not
    cause.
    """

    exit_code: int
    failure: str
    summary: Mapping[str, Any]
    left: Sequence[int]
    crashes: Sequence[str]


def judge(
    seed: int, events: Sequence[Event], ending: Ending, twin: Mapping[str, Any] | None
) -> Verdict:
    """Compare what was promised with what there is.

    Args:
        seed: of the plan.
        events: what was done.
        ending: how the run ended.
        twin: summary of the undisturbed run; None if none is to be compared.
    """
    ledger = dict(ending.summary.get("ledger", {}))
    hashes = "not compared"
    if twin is not None:
        same = twin.get("parameters_sha256") == ending.summary.get("parameters_sha256")
        hashes = "equal" if same and twin.get("parameters_sha256") else "different"
    kills = [event for event in events if event.fault.kind == "kill" and event.hit]
    longest: dict[str, float] = {}
    for event in kills:
        if event.back_seconds is not None:
            before = longest.get(event.fault.role, 0.0)
            longest[event.fault.role] = round(max(before, event.back_seconds), 2)
    roles = [event.fault.role for event in kills]
    return Verdict(
        seed=seed,
        problems=tuple(_problems(ending, ledger, hashes)),
        kills={role: roles.count(role) for role in sorted(set(roles))},
        missed=sum(not event.hit for event in events),
        longest_seconds=longest,
        ledger=ledger,
        hashes=hashes,
    )


def _problems(ending: Ending, ledger: Mapping[str, Any], hashes: str) -> Iterable[str]:
    if ending.failure:
        yield f"the run was given up: {ending.failure}"
    elif ending.exit_code:
        yield f"the run ended with exit code {ending.exit_code}"
    if not ending.summary.get("finished"):
        yield "the run did not finish"
    if not closes(ledger):
        yield f"the books do not close: {ledger or 'there are none'}"
    if hashes == "different":
        yield "the parameters differ from those of the undisturbed run"
    for crash in ending.crashes:
        yield f"nobody killed it: {crash}"
    if ending.left:
        yield f"processes were left behind: {', '.join(map(str, ending.left))}"


def closes(ledger: Mapping[str, Any]) -> bool:
    """Whether everything produced was trained, dropped or lost, and something was."""
    if not ledger or ledger["error"]:
        return False
    accounted = sum([ledger["trained"], *ledger["dropped"].values(), *ledger["lost"].values()])
    return bool(ledger["produced"] == accounted > 0)


def crashes(launcher_log: str) -> list[str]:
    """Ends in the launcher's log that no kill explains."""
    return [
        f"{name} ended with exit code {code}"
        for name, code in _ENDED.findall(launcher_log)
        if int(code) not in _CAUSED
    ]


def line(event: Event) -> str:
    """One event for people."""
    outcome = "hit" if event.hit else "missed"
    if event.back_seconds is not None:
        outcome += f", back after {event.back_seconds:.1f} s"
    note = f" ({event.note})" if event.note else ""
    target = event.target or event.fault.role
    return f"{event.seconds:7.1f} s  {event.fault.kind:9} {target:10} {outcome}{note}"


def text(verdict: Verdict) -> str:
    """The end of the report, for people."""
    kills = ", ".join(f"{role} {count}" for role, count in verdict.kills.items()) or "none"
    rows = [
        f"chaos with seed {verdict.seed}: {'all is well' if verdict.ok else 'NOT WELL'}",
        f"  kills that hit   {sum(verdict.kills.values())}: {kills}",
        f"  faults missed    {verdict.missed}",
    ]
    for role, seconds in sorted(verdict.longest_seconds.items()):
        bound = BOUNDS.get(role)
        beside = "" if bound is None else f" (bound {bound:.0f} s{_over(seconds, bound)})"
        rows.append(f"  longest absence  {role} {seconds:.1f} s{beside}")
    if verdict.ledger:
        ledger = verdict.ledger
        dropped, lost = sum(ledger["dropped"].values()), sum(ledger["lost"].values())
        rows.append(
            f"  ledger           {ledger['produced']} produced = {ledger['trained']} trained + "
            f"{dropped} dropped + {lost} lost, error {ledger['error']}"
        )
    rows.append(f"  hashes           {verdict.hashes}")
    rows += [f"  problem          {problem}" for problem in verdict.problems]
    return "\n".join(rows)


def _over(seconds: float, bound: float) -> str:
    return ", EXCEEDED" if seconds > bound else ""
