"""One measurement beside its limit: what every part of `dm2 bench` hands to `launch.bench`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement beside its limit.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: of `value` and `limit`, for instance `env steps/s`.
        limit: the figure it is held to, measured in the same run unless `limit_is` says otherwise;
            None where there is none.
        limit_is: in words what the limit is.
    """

    name: str
    value: float
    unit: str
    limit: float | None
    limit_is: str

    @property
    def ratio(self) -> float | None:
        """Value over limit."""
        return self.value / self.limit if self.limit else None
