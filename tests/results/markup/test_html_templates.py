"""Templates print text: markup comes from templates only, whatever a value holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import results
from results.markup.html_templates import asset, render

TEMPLATES = sorted(Path(results.__file__).parent.rglob("*.html.j2"))


def test_values_are_text_and_numbers_are_as_they_are():
    html = render(
        "report/assets/listing.html.j2", how="<i>", heads=['"'], lines=[("</td>", 1.5, "a\u202eb\nc")], more=3
    )
    assert '<p class="how">&lt;i&gt;</p>\n' in html
    assert '<th scope="col">&quot;</th>' in html
    assert "<tr><td>&lt;/td&gt;</td><td>1.5</td><td>a\\u202eb c</td></tr>" in html


def test_a_forgotten_value_is_an_error():
    with pytest.raises(UndefinedError, match="'remarks' is undefined"):
        render("report/assets/left_out.html.j2")


def test_a_fragment_goes_into_a_page_as_it_is():
    summary = render("report/assets/summary.html.j2", counts=["<"], verdicts="", is_running=False, any_failed=False)
    values = {"title": "t", "description": "", "sections": [], "linked": [], "scripts": [], "script_hashes": []}
    assert summary == '<p class="lead">&lt;. </p>\n'
    assert summary in render("report/assets/page.html.j2", summary=summary, **values)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_turns_escaping_off(template):
    """`safe` would make markup of a name; the one exception are the hashes of our own scripts."""
    text = template.read_text(encoding="utf-8")
    assert "autoescape" not in text
    assert re.findall(r"\{\{([^}]*\bsafe\b[^}]*)\}\}", text) == (
        [' script_hashes | join(" ") | safe '] if template.name == "page.html.j2" else []
    )


def test_styles_and_scripts_are_files():
    assert asset("exporters/assets/table.css").startswith(":root")
    assert asset("report/assets/charts.js").startswith('"use strict";')
