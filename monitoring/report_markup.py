"""HTML that escapes whatever it is given: the words of a report come from files.

Text becomes HTML only through `tag` or `raw`, so nothing that a file says can run or break a page.
Used by all `monitoring.report_*`.
"""

import html
from collections.abc import Iterable, Sequence


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


_EMPTY = frozenset({"meta", "path", "line", "rect", "circle", "polyline", "br"})
"""Elements without an end tag here; those of SVG close themselves."""


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Html:
    """An element.

    Args:
        name: of the element.
        children: text, which is escaped, or HTML.
        attributes: `class_` stands for `class` and `data_label` for `data-label`; None leaves the
            attribute out.
    """
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    opened = f"<{name}{''.join(pairs)}"
    if name in _EMPTY:
        return Html(f"{opened}>" if name in ("meta", "br") else f"{opened}/>")
    return Html(f"{opened}>{joined(children)}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """The parts one after the other; what is no HTML yet is escaped."""
    return Html("".join(part if isinstance(part, Html) else html.escape(part) for part in parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> Html:
    """A table; its first column names the row.

    Args:
        heads: one per column.
        rows: cells, one per column each.
        caption: what the table shows, for those who hear it.
    """
    head = tag("tr", *(tag("th", text, scope="col") for text in heads))
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption) if caption else "",
            tag("thead", head),
            tag("tbody", *body),
        ),
        class_="scroll",
        tabindex="0",
    )


def section(name: str, title: str, *children: str) -> Html:
    """A part of the page that `#name` leads to."""
    return tag("section", tag("h2", title), *children, id=name)
