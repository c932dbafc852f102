"""Who sets the pace, as one PromQL expression: the rules of `monitoring.wording`, for Grafana.

The expression gives a number from 0 to 15, one bit for each thing the rules ask; `pace_words` says
what it means. Read by `monitoring.dashboard_pipeline`.
"""

from monitoring import wording
from monitoring.dashboard_layout import BLUE, GREEN, OF_AGENT, OF_RUN, ORANGE, RATE, TEXT

ACTORS = f"rate(dm2_actor_phase_seconds_total{{{OF_RUN}}}[{RATE}])"
LEARNERS = f"rate(dm2_learner_phase_seconds_total{{{OF_AGENT}}}[{RATE}])"
_ALL = f"rate(dm2_learner_phase_seconds_total{{{OF_RUN}}}[{RATE}])"


def actor_share(phase: str) -> str:
    """Fraction of the time of all actors together that they spend in this phase."""
    chosen = f'rate(dm2_actor_phase_seconds_total{{{OF_RUN},phase="{phase}"}}[{RATE}])'
    return f"(sum({chosen}) / sum({ACTORS}))"


BUSY = (
    "(1 - sum by (agent) "
    f'(rate(dm2_learner_phase_seconds_total{{{OF_RUN},phase="wait_data"}}[{RATE}]))'
    f" / sum by (agent) ({_ALL}))"
)
_ONE_AHEAD = f"(max({BUSY}) - quantile(0.5, {BUSY}))"
PACE = (
    f"8 * ({_ONE_AHEAD} >= bool {wording.UNEVEN}) + 4 * (max({BUSY}) >= bool {wording.BUSY})"
    f" + 2 * ({actor_share('play')} >= bool {wording.BUSY})"
    f" + ({actor_share('send')} >= bool {wording.SLOW_WIRE})"
)


def pace_words(code: int) -> tuple[str, str]:
    """Words and their colour for a value of `PACE`; same order as `wording.bottleneck`."""
    one_ahead, learners, actors, wire = code & 8, code & 4, code & 2, code & 1
    if learners and actors:
        return "well balanced", GREEN
    if learners:
        return ("one learner", ORANGE) if one_ahead else ("the learners", BLUE)
    if actors:
        return "the actors", BLUE
    return ("the wire", ORANGE) if wire else ("nobody: they take turns", TEXT)
