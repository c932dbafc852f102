"""The shell of a report: one HTML document that needs no network and runs no script but ours.

Its security policy names the digest of each script, so that whatever else got into the page could
not run. Used by `monitoring.report` and `monitoring.report_comparison`.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monitoring.report_markup import Html, tag

_FOLDER = Path(__file__).parent
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_MOST_BATTLE = 700_000
"""Letters of a battle's page; a longer one would make the report too large."""


@dataclass(frozen=True, slots=True)
class Battle:
    """A recorded battle; page: an HTML document that plays it, with its own script inside."""

    title: str
    page: str

    @property
    def fits(self) -> bool:
        """Whether a report has room for it."""
        return len(self.page) <= _MOST_BATTLE


def document(title: str, body: Sequence[Html], battles: Sequence[Battle] = ()) -> str:
    """The whole page.

    Args:
        title: of the window.
        body: the parts from top to bottom.
        battles: whose scripts may run, each in its frame.
    """
    style, script = (_FOLDER.joinpath(f"report.{kind}").read_text() for kind in ("css", "js"))
    scripts = [script, *(text for battle in battles for text in _SCRIPT.findall(battle.page))]
    allowed = " ".join(dict.fromkeys(map(_digest, scripts)))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("title", title),
        tag("style", Html(style)),
    )
    shown = tag(
        "body",
        tag("main", *body),
        tag("div", id="tip", role="status"),
        tag("script", Html(script)),
    )
    return f"<!doctype html>\n{tag('html', head, shown, lang='en')}\n"


def frame(battle: Battle) -> Html:
    """A battle in a frame of its own, apart from the rest of the page."""
    return tag(
        "iframe", srcdoc=battle.page, sandbox="allow-scripts", loading="lazy", title=battle.title
    )


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
