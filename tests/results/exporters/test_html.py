"""HTML: one file, no request, names without markup, and sorting by a click (in a real browser where there is one)."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from results import EXPORTERS, ablation_table
from results.exporters.html import fragment
from results.markup.html_templates import asset

STYLE, SCRIPT = asset("exporters/assets/table.css"), asset("exporters/assets/table.js")
_HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></tr></table></figure><h1>mine</h1>",
    "&lt;b&gt; &amp; 'quote'",
    "</script><style>*{display:none}</style>",
    "javascript:alert(1)",
    "\u6ce8\u610f\u529b \u202egnp",
]


def _written(table) -> str:
    stream = io.StringIO()
    EXPORTERS["html"](table, stream)
    return stream.getvalue()


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def _parsed(text: str) -> _Elements:
    parser = _Elements()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def _hostile_table(plan, planned, record):
    variants = [
        planned(text, variant_id=str(i), is_baseline=i == 0, components={text: True}, study=text)
        for i, text in enumerate(_HOSTILE)
    ]
    records = [
        record(text, 0, 50.0, variant_id=str(i), trial_id=str(i), device=text) for i, text in enumerate(_HOSTILE)
    ]
    records += [
        record("x", 1, variant_id=str(i), trial_id=f"f{i}", failure={"type": "E", "message": text})
        for i, text in enumerate(_HOSTILE)
    ]
    published = [{"when": {text: 1}, "values": {"top1": 1.0}, "source": text} for text in _HOSTILE]
    return ablation_table(
        plan(*variants, seeds=[0, 1], sweep=_HOSTILE[0], dataset=_HOSTILE[1], published=published), records
    )


def test_hostile_names_are_text(plan, planned, record):
    """In every place where a name can stand: the elements are those of a table with harmless names."""
    elements = _parsed(_written(_hostile_table(plan, planned, record)))
    assert elements.tags.count("script") == 1
    assert elements.tags.count("style") == 1
    assert not {"img", "h2", "b"} & set(elements.tags)
    assert elements.tags.count("h1") == 1
    assert {name for name, _ in elements.attributes} <= {
        *("lang", "charset", "http-equiv", "content", "name", "class", "scope", "type", "data-sort", "colspan")
    }
    for text in _HOSTILE[:-1]:
        assert text in elements.texts
    assert "\u6ce8\u610f\u529b \\u202egnp" in elements.texts


def test_nothing_is_requested_from_anywhere(quickstart_plan, quickstart_records):
    """No address, no import, no resource; and a policy that would forbid one."""
    page = _written(ablation_table(quickstart_plan, quickstart_records))
    assert not re.search(r"https?:|//[a-z]|\bsrc\s*=|\bhref\b|@import|url\(|fetch\(|XMLHttp", page)
    assert "default-src 'none'" in page


def test_the_fragment_is_the_table_of_the_page(quickstart_plan, quickstart_records):
    table = ablation_table(quickstart_plan, quickstart_records)
    page = _written(table)
    assert fragment(table) in page
    assert STYLE in page
    assert SCRIPT in page


def test_a_fragment_of_the_first_rows_says_so(quickstart_plan, quickstart_records):
    """Four rows, of which two are shown; the caption stays that of the whole table."""
    table = ablation_table(quickstart_plan, quickstart_records)
    whole, cut = fragment(table, most_rows=4), fragment(table, most_rows=2)
    assert whole == fragment(table)
    assert (whole.count("<tr>"), cut.count("<tr>")) == (5, 3)  # with the row of headers
    assert "The first 2 of 4 rows are shown here; the CSV file has all." in cut
    assert whole.split("<figcaption>")[1].split("<ul>")[0] == cut.split("<figcaption>")[1].split("<ul>")[0]


_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.thorough
@pytest.mark.skipif(_BROWSER is None, reason="no Chromium is installed (Debian: apt install chromium)")
@pytest.mark.parametrize(
    ("clicks", "expected"),
    [
        (0, ["baseline", "low", "high", "none", "middle"]),
        (1, ["low", "baseline", "middle", "high", "none"]),
        (2, ["high", "middle", "baseline", "low", "none"]),
        (3, ["baseline", "low", "high", "none", "middle"]),
    ],
)
def test_a_click_sorts_by_the_unrounded_number(plan, planned, record, tmp_path, clicks, expected):
    """8, 9.5, 10.001, 10.002: as text 8 would come last and the last two would be equal. A row without a value is last
    in both orders; the third click restores the order of the plan, over both groups."""
    values = {"baseline": 9.5, "low": 8.0, "high": 10.002, "none": None, "middle": 10.001}
    variants = [planned(n, is_baseline=n == "baseline", study="later" if n == "middle" else "") for n in values]
    records = [record(name, 0, value) for name, value in values.items() if value is not None]
    page = _written(ablation_table(plan(*variants, seeds=[0]), records))
    click = f"for (let i = 0; i < {clicks}; i++) document.querySelectorAll('.ablation thead button')[2].click();"
    path = tmp_path / "table.html"
    path.write_text(page.replace("</script>\n</body>", f"{click}\n</script>\n</body>"), encoding="utf-8")
    command = [str(_BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += ["--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert re.findall(r'<tr><td class="left">(\w+)</td>', done.stdout) == expected
    assert ('class="group"' in done.stdout) == (clicks in (0, 3))
