"""A page is a shell around parts. A browser asks for the versions of the parts, and fetches those that have changed.

Without scripts the page is whole as well: its first form holds every part that is quick to make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from results.markup.html_templates import asset, render

__all__ = ["STATIC", "Part", "page", "static_version"]

STATIC = {
    "live.css": ("text/css", ("exporters/assets/table.css", "live/assets/live.css")),
    "table.js": ("text/javascript", ("exporters/assets/table.js",)),
    "charts.js": ("text/javascript", ("report/assets/charts.js",)),
    "live.js": ("text/javascript", ("live/assets/live.js",)),
}
"""Files of every page: name -> media type, and the files of this package that it is made of."""


@dataclass(frozen=True)
class Part:
    """A part of a page: its HTML, and a text that changes with it."""

    name: str
    version: str
    body: Markup

    def html(self) -> Markup:
        """The part as an element, as it is in the page."""
        return render("live/assets/part.html.j2", part=self)


def page(
    title: str, address: str, parts: Sequence[Part], *, trail: Sequence[tuple[str, str]] = (), head: str = ""
) -> Markup:
    """A whole page.

    Args:
        address: the path of the page, without an end slash; its parts are below `part/`, their versions at `versions`.
        trail: titles and addresses of the pages above it.
        head: HTML above the parts that does not change: rendered markup.
    """
    return render(
        "live/assets/shell.html.j2",
        title=title,
        address=address,
        parts=parts,
        trail=trail,
        head=Markup(head),
        css=f"/static/live.css?{static_version('live.css')}",
        scripts=[f"/static/{name}?{static_version(name)}" for name in ("table.js", "live.js")],
        later=[f"/static/charts.js?{static_version('charts.js')}"],
    )


def static_version(name: str) -> str:
    """Changes with the content of a static file: browsers may keep it under this address."""
    content = "".join(asset(path) for path in STATIC[name][1])
    return hashlib.sha256(content.encode()).hexdigest()[:12]
