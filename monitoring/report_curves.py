"""The curves of a report: evaluations with intervals, and every number that learners recorded.

`PANELS` says what belongs together; what it does not name is shown, too. Fed by
`monitoring.report_source`; drawn by `monitoring.report_plot`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitoring import catalogue, report_plot, report_statistics
from monitoring.report_markup import Html, section, tag
from monitoring.report_plot import Axes, Line, Rule
from monitoring.report_source import Evaluation, Run
from monitoring.report_statistics import Z95

_POINTS = 3200
"""Most points of one picture, shared by its lines."""
_MOST_OTHERS = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of learners' numbers; all names after the first are dashed.

    note: what it means; the catalogue's words unless given.
    """

    part: str
    title: str
    names: tuple[str, ...]
    note: str = ""
    limits: tuple[float, float] | None = None
    logarithmic: bool = False
    rule: Rule | None = None


_SHARE = (0.0, 1.0)
PARTS = {
    "policy": "Policy and critic",
    "discriminator": "Discriminator",
    "reward": "Reward and play",
    "lag": "Lag",
    "others": "Other numbers",
}
PANELS = (
    Panel("policy", "policy loss", ("policy_loss",)),
    Panel("policy", "entropy", ("entropy",)),
    Panel("policy", "approximate KL", ("approx_kl",)),
    Panel("policy", "clip fraction", ("clip_fraction",)),
    Panel("policy", "value loss", ("value_loss",), logarithmic=True),
    Panel("policy", "explained variance", ("explained_variance",), limits=(-1.0, 1.0)),
    Panel("policy", "gradient norm, policy", ("policy_gradient_norm",)),
    Panel("policy", "gradient norm, critic", ("critic_gradient_norm",)),
    Panel("policy", "log-probability mismatch", ("log_prob_mismatch",), logarithmic=True),
    Panel("policy", "behaviour ratio", ("behaviour_ratio_mean",)),
    Panel("policy", "effective sample size", ("effective_sample_size",),
          "Share of the batch that still counts after the correction for older policies."),
    Panel("policy", "skipped gradient steps", ("skipped_steps",),
          "Gradient steps that were left out because a number was not finite."),
    Panel("discriminator", "accuracy", ("discriminator_accuracy",), limits=_SHARE,
          rule=Rule("cannot tell them apart", 0.5)),
    Panel("discriminator", "logits: expert, agent dashed",
          ("logit_expert_mean", "logit_agent_mean"),
          "Above 0: taken for the expert. The two meet when it is matched."),
    Panel("discriminator", "discriminator loss", ("discriminator_loss",)),
    Panel("discriminator", "gradient penalty", ("gradient_penalty",)),
    Panel("discriminator", "living time, log ratio", ("living_time_log_ratio",),
          "Above 0: the demonstrators live longer than the agent."),
    Panel("reward", "env return, training episodes", ("train_return_mean",)),
    Panel("reward", "imitation reward", ("imitation_reward_mean",),
          "Mean logit that is added to a step's reward, before its coefficient."),
    Panel("reward", "win rate, training episodes", ("train_win_rate",), limits=_SHARE),
    Panel("lag", "own lag: mean, largest dashed", ("lag_mean", "lag_max"),
          "Versions between the policy that played and the one that trains."),
    Panel("lag", "peers' lag: mean, largest dashed", ("peer_lag_mean", "peer_lag_max"),
          "The same of the other agents' policies."),
)  # fmt: skip

_META = {row.name: row for row in catalogue.TABLE}


def evaluations(run: Run) -> list[Html]:
    """Win rate and return over env steps, with intervals and the demonstrators' level."""
    known = run.evaluations
    if not known:
        return [tag("p", "There is no evaluation yet.", class_="note")]
    level = run.level
    marks = ([], []) if level is None else (
        [Rule("demonstrators", level.win_rate)], [Rule("demonstrators", level.return_mean)]
    )  # fmt: skip
    spread = "Band: 95 % interval of the mean."
    if returns_band(known) is None:
        spread = "No interval: the returns of single episodes were not recorded."
    return [
        report_plot.chart(
            "win rate, greedy",
            [win_rates(run, 0)],
            Axes(limits=_SHARE),
            rules=marks[0],
            note=f"Band: 95 % score interval over {known[-1].episodes} episodes.",
        ),
        report_plot.chart(
            "mean return, greedy", [returns(run, 0)], Axes(), rules=marks[1], note=spread
        ),
    ]


def win_rates(run: Run, colour: int, *, label: str = "win rate") -> Line:
    """The win rate of each evaluation and its interval."""
    known = _kept(run)
    bounds = np.array([report_statistics.wilson(one.win_rate, one.episodes) for one in known])
    rates = np.array([one.win_rate for one in known])
    return Line(label, steps_of(known), rates, colour, (bounds[:, 0], bounds[:, 1]))


def returns(run: Run, colour: int, *, label: str = "return") -> Line:
    """The mean return of each evaluation, with an interval where the spread was recorded."""
    known = _kept(run)
    means = np.array([one.return_mean for one in known])
    return Line(label, steps_of(known), means, colour, returns_band(known))


def returns_band(
    known: Sequence[Evaluation],
) -> tuple[report_statistics.Floats, report_statistics.Floats] | None:
    """The 95 % interval of mean returns; None if the spread of some is not known."""
    half = [
        None if one.deviation is None else Z95 * one.deviation / one.episodes**0.5 for one in known
    ]
    found = [width for width in half if width is not None]
    if len(found) < len(known):
        return None
    means, widths = np.array([one.return_mean for one in known]), np.array(found)
    return means - widths, means + widths


def steps_of(known: Sequence[Evaluation]) -> report_statistics.Floats:
    """Env steps of evaluations, ascending."""
    return np.array([one.env_steps for one in known], np.float64)


def _kept(run: Run) -> Sequence[Evaluation]:
    """The evaluations to draw: all, or evenly chosen ones of very many."""
    known = run.evaluations
    most = 400
    if len(known) <= most:
        return known
    chosen = np.unique(np.linspace(0, len(known) - 1, most).round().astype(int))
    return [known[index] for index in chosen]


def learning(run: Run, words: Mapping[str, Sequence[Html]]) -> list[Html]:
    """One section per part, with a curve per agent.

    Args:
        run: the run.
        words: what stands above the pictures, by part.
    """
    agents = sorted({agent for series in run.metrics.values() for agent in series})
    keys = report_plot.legend([(f"agent {agent}", agent) for agent in agents])

    def lines(panel: Panel) -> list[Line]:
        return [
            _line(run, name, agent, panel, len(agents) * len(panel.names))
            for name in panel.names
            for agent in sorted(run.metrics.get(name, ()))
        ]

    found = []
    for part, title in PARTS.items():
        pictures = [
            _picture(panel, drawn) for panel in panels([run], part) if (drawn := lines(panel))
        ]
        above = words.get(part, ())
        if pictures:
            grid = tag("div", *pictures, class_="charts")
            found.append(section(part, title, *above, keys, grid))
        elif above:
            found.append(section(part, title, *above))
    return found


def panels(runs: Sequence[Run], part: str) -> list[Panel]:
    """The pictures of a part; the last part has a picture for every number that no other shows."""
    if part != "others":
        return [panel for panel in PANELS if panel.part == part]
    shown = {name for panel in PANELS for name in panel.names}
    names = sorted({name for run in runs for name in run.metrics} - shown)[:_MOST_OTHERS]
    return [Panel("others", name.replace("_", " "), (name,)) for name in names]


def compared(runs: Sequence[Run], labels: Sequence[str]) -> list[Html]:
    """One section per part, with a curve per run: the mean over its agents."""
    found = []
    for part, title in PARTS.items():
        pictures = []
        for panel in panels(runs, part):
            lines = [
                _mean_line(run, name, label, colour, panel, len(runs) * len(panel.names))
                for name in panel.names
                for colour, (run, label) in enumerate(zip(runs, labels, strict=True))
                if name in run.metrics
            ]
            if lines:
                pictures.append(_picture(panel, lines))
        if pictures:
            found.append(section(part, title, tag("div", *pictures, class_="charts")))
    return found


def _picture(panel: Panel, lines: Sequence[Line]) -> Html:
    row = _META.get(f"dm2_learner_{panel.names[0]}")
    unit = row.unit if row is not None and row.unit not in ("1", "fraction") else ""
    note = panel.note or (row.help if row is not None else "")
    positive = any((line.y > 0).any() for line in lines)
    axes = Axes(unit=unit, limits=panel.limits, logarithmic=panel.logarithmic and positive)
    if axes.logarithmic:
        least = min(float(line.y[line.y > 0].min()) for line in lines if (line.y > 0).any())
        lines = [
            Line(line.label, line.x, np.maximum(line.y, least), line.colour, dashed=line.dashed)
            for line in lines
        ]
    rules = [] if panel.rule is None else [panel.rule]
    return report_plot.chart(panel.title, lines, axes, rules=rules, note=note)


def _line(run: Run, name: str, agent: int, panel: Panel, sharing: int) -> Line:
    label = f"agent {agent}" + _suffix(name, panel)
    return _thinned(*run.metrics[name][agent], label, agent, name, panel, sharing)


def _mean_line(run: Run, name: str, label: str, colour: int, panel: Panel, sharing: int) -> Line:
    """The mean over agents, at the env steps that any of them noted."""
    series = list(run.metrics[name].values())
    places = np.unique(np.concatenate([x for x, _ in series]))
    mean = np.mean([np.interp(places, x, y) for x, y in series], axis=0)
    return _thinned(places, mean, label + _suffix(name, panel), colour, name, panel, sharing)


def _thinned(
    x: report_statistics.Floats,
    y: report_statistics.Floats,
    label: str,
    colour: int,
    name: str,
    panel: Panel,
    sharing: int,
) -> Line:
    most = min(max(_POINTS // sharing, 24), 160)
    peaks = name.endswith("_max") or name == "log_prob_mismatch"
    x, y = report_statistics.thinned(x, y, most, largest=peaks)
    return Line(label, x, y, colour, dashed=name != panel.names[0])


def _suffix(name: str, panel: Panel) -> str:
    return f" {name.replace('_', ' ')}" if len(panel.names) > 1 else ""
