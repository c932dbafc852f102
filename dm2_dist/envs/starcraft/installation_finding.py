"""What one check of `dm2 doctor` found: fine, worth knowing, or in the way; and the mend."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table.

    Attributes:
        check: what was looked at, in a word or two.
        level: `fault` keeps a run from working, `warning` makes it slow or fragile.
        found: what is there.
        mend: one sentence that says what to do; "" where nothing is to be done.
    """

    check: str
    level: Level
    found: str
    mend: str = ""


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, mend: str) -> Finding:
    """Works, but not well."""
    return Finding(check, "warning", found, mend)


def fault(check: str, found: str, mend: str) -> Finding:
    """Does not work."""
    return Finding(check, "fault", found, mend)


def from_sentence(check: str, sentence: str) -> Finding:
    """A fault from an error whose message is `what is wrong; the mend`."""
    found, _, mend = sentence.partition("; ")
    return fault(check, found, mend)
