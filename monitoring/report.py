"""`report.html`: everything about a run on one page that needs no network.

`page` is the report of one run, `monitoring.report_comparison` that of several. Fed by
`monitoring.report_source`; written by `launch.report`.
"""

from collections.abc import Sequence

from monitoring import report_curves, report_document, report_parts
from monitoring.report_document import Battle
from monitoring.report_markup import Html, section, tag
from monitoring.report_source import Run


def page(run: Run, battles: Sequence[Battle] = (), note: str = "") -> str:
    """The report of one run.

    Args:
        run: as read from its directory.
        battles: of the final policies.
        note: why there are no battles, or what they are.

    Returns:
        The whole HTML document, below 2 MB.
    """
    fitting = [battle for battle in battles if battle.fits]
    if len(fitting) < len(battles):
        note = f"{note} A battle that was too large for a page was left out.".strip()
    words = {
        "discriminator": report_parts.discriminator_health(run),
        "lag": report_parts.lag(run),
    }
    curves = report_curves.learning(run, words)
    shown = tag("div", *report_curves.evaluations(run), class_="charts wide")
    parts = [
        section("evaluation", "Evaluation", shown),
        *curves,
        *report_parts.sections(report_parts.single(run, fitting, note)),
    ]
    body = [*report_parts.headline(run), contents(parts), *parts]
    return report_document.document(f"{run.name}: {report_parts.title(run)}", body, fitting)


def contents(parts: Sequence[Html]) -> Html:
    """Links to the sections of a page."""
    links = []
    for part in parts:
        name = part.split('id="', 1)[1].split('"', 1)[0]
        heading = part.split("<h2>", 1)[1].split("</h2>", 1)[0]
        links.append(tag("a", Html(heading), href=f"#{name}"))
    return tag("nav", *links, aria_label="Contents")
