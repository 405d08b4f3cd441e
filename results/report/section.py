"""One section of the report: its id, its heading, and its content as a rendered fragment."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from results.markup.html_templates import render

__all__ = ["Section", "section"]


@dataclass(frozen=True)
class Section:
    """`key` is the id, unique in the page."""

    key: str
    title: str
    body: Markup
    is_figure: bool = False


def section(key: str, title: str, template: str, *, is_figure: bool = False, **values: object) -> Section:
    """The section whose content is this template of the report, filled with the values and the key."""
    return Section(key, title, render(f"report/assets/{template}.html.j2", key=key, **values), is_figure)
