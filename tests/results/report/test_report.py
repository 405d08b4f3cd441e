"""The report as a file: no name is markup, no network request is made, and what is not there is left out.

What a browser makes of it is in tests/runners/cli/test_report.py.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from results import Failure, Run
from results.figures.files import figure_csv
from results.markup.html_templates import block, script_json, text
from results.report import Subject, make_report
from search_space.parsing.errors import SpecError

pytestmark = pytest.mark.thorough

_HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    '"><h1>mine</h1>',
    "' onload='alert(1)",
    "{{constructor}} \u202egnp",
    "n" * 300,
]


class _Page(HTMLParser):
    """Elements, their attributes, and the texts of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._script: dict[str, str | None] | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self._script = dict(attrs)
            self.scripts.append((self._script, ""))

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is not None:
            attributes, before = self.scripts.pop()
            self.scripts.append((attributes, before + data))
        else:
            self.texts.append(data)

    def values(self, name):
        return [value for key, value in self.attributes if key == name]

    @property
    def sections(self):
        return [value for value in self.values("id") if not value.endswith(("-spec", "-spec-svg"))]


@pytest.fixture
def run_of(tmp_path):
    def build(plan, records):
        return Run(tmp_path, plan, tuple(records))

    return build


@pytest.fixture
def hostile_run(run_of, plan, planned, record, tmp_path):
    """Hostile words wherever a run has words: names, devices, failures, drops, provenance, sweep file."""
    variants = [
        planned(name, variant_id=str(i), changes={"arch.depth": i} if i else {}, is_baseline=i == 0)
        for i, name in enumerate(_HOSTILE)
    ]
    variants += [planned("d" + name, variant_id=f"d{i}", dropped=name) for i, name in enumerate(_HOSTILE)]
    records = []
    for i, name in enumerate(_HOSTILE):
        curve = [{"epoch": 1, "top1": 50.0}, {"epoch": 2, "top1": 51.0 + i}]
        shared = {"variant_id": str(i), "curve": curve, "device": name}
        records += [record(name, seed, 51.0 + i + seed * i, trial_id=f"{i}-{seed}", **shared) for seed in (0, 1)]
        failure = Failure(type=name, message=name, traceback=f"line\n{name}")
        records.append(record(name, 2, variant_id=str(i), trial_id=name, failure=failure))
    session = {
        "argv": ["archsweep", "run", *_HOSTILE],
        "sweep_file": _HOSTILE[0],
        "packages": dict.fromkeys(_HOSTILE, "1"),
    }
    session |= {"git": {"revision": _HOSTILE[0], "dirty": True}, "sweep": {"description": _HOSTILE[2]}}
    (tmp_path / "provenance.jsonl").write_text(json.dumps(session) + "\nno json\n[]\n")
    (tmp_path / "sweep.yaml").write_text("\n".join(_HOSTILE))
    return run_of(plan(*variants, sweep=_HOSTILE[0], dataset=_HOSTILE[1]), records)


@pytest.mark.thorough
def test_hostile_words_are_text_everywhere(hostile_run):
    """The elements are those of harmless words, and no attribute can run anything."""
    report = make_report([Subject(hostile_run, remarks=tuple(_HOSTILE))])
    page = _Page(report.html)
    assert page.tags.count("h1") == 1
    assert page.tags.count("img") == len(report.figures)
    assert all(src.startswith("data:image/svg+xml;base64,") for src in page.values("src"))
    assert all(href.startswith(("#", "data:text/csv", "data:application/yaml")) for href in page.values("href"))
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    for words in (_HOSTILE[0], _HOSTILE[2]):
        assert words in page.texts
    assert "\u202e" not in report.html


@pytest.mark.thorough
def test_pictures_hold_no_code(hostile_run):
    for src in _Page(make_report([Subject(hostile_run)]).html).values("src"):
        picture = ElementTree.fromstring(base64.b64decode(src.split(",", 1)[1]))
        tags = {node.tag.removeprefix("{http://www.w3.org/2000/svg}") for node in picture.iter()}
        assert tags <= {
            "svg",
            "g",
            "path",
            "rect",
            "line",
            "text",
            "tspan",
            "defs",
            "clipPath",
            "linearGradient",
            "stop",
        }
        assert not [name for node in picture.iter() for name in node.attrib if name.startswith("on") or "href" in name]


@pytest.mark.thorough
def test_only_the_scripts_of_the_page_may_run_and_nothing_is_requested(hostile_run):
    page = _Page(make_report([Subject(hostile_run)]).html)
    policy = next(value for value in page.values("content") if "default-src" in value)
    running = [body for attributes, body in page.scripts if attributes.get("type") != "application/json"]
    assert len(running) == 3
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" for body in running]
    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src {' '.join(hashes)}"
    )


@pytest.mark.thorough
def test_data_of_charts_are_whole_json(hostile_run):
    page = _Page(make_report([Subject(hostile_run)]).html)
    specs = [json.loads(body) for attributes, body in page.scripts if attributes.get("type") == "application/json"]
    names = {line.get("variant") for spec in specs for data in spec["datasets"].values() for line in data}
    assert {_HOSTILE[0], _HOSTILE[1], "{{constructor}} \\u202egnp"} <= names


@pytest.mark.thorough
def test_equal_ledgers_give_equal_bytes(run_of, quickstart_plan, quickstart_records):
    first = make_report([Subject(run_of(quickstart_plan, quickstart_records))])
    second = make_report([Subject(run_of(quickstart_plan, list(reversed(quickstart_records))))])
    assert first.html == second.html


def test_sections_without_data_are_left_out(run_of, plan, planned, quickstart_plan, quickstart_records):
    full = _Page(make_report([Subject(run_of(quickstart_plan, quickstart_records))]).html)
    assert full.sections == ["table", "deltas", "seeds", "cost", "failures", "pruned", "dropped"]
    empty = make_report([Subject(run_of(plan(planned("baseline", is_baseline=True)), []))])
    assert _Page(empty.html).sections == ["table"]
    assert "vegaEmbed" not in empty.html  # no charts, no library for them


@pytest.mark.parametrize("lost", [{"00"}, {"00", "01", "10", "11"}], ids=["the baseline", "every variant"])
def test_a_factorial_without_complete_rows_is_left_out_with_the_reason(run_of, plan, planned, record, lost):
    """A traceback before: four rows of one seed, whose baseline failed, and one of three seeds that all lack one."""
    names = ["00", "01", "10", "11"]
    variants = [
        planned(name, components={"a": name[0] == "1", "b": name[1] == "1"}, is_baseline=name == "00") for name in names
    ]
    seeds = [0] if len(lost) == 1 else [0, 1, 2]
    records = [
        record(name, seed, None if name in lost and seed == 0 else 90.0 + index + seed)
        for index, name in enumerate(names)
        for seed in seeds
    ]
    page = make_report([Subject(run_of(plan(*variants, design="factorial", seeds=seeds), records))]).html
    reason = "3 complete trials are too few" if len(lost) == 1 else "no variant has completed all its seeds"
    assert "Left out of this report" in page
    assert reason in page


def test_failures_come_with_their_reason_and_last_lines(run_of, plan, planned, record):
    trace = "\n".join(f"line {n}" for n in range(40))
    failure = Failure(type="OutOfMemory", message="no room\nfor it", traceback=trace, epoch=3)
    failed = record("arm", 1, failure=failure, attempt=2, trial_id="abc")
    pair = planned("baseline", is_baseline=True), planned("arm", changes={"arch.depth": 3})
    html = make_report([Subject(run_of(plan(*pair, seeds=[0, 1]), [record("baseline", 0, 50.0), failed]))]).html
    assert "<h3>arm, seed 1, epoch 3, attempt 2</h3>\n<p>OutOfMemory: no room for it</p>" in html
    assert "log: trials/abc/train.log" in html
    assert "<pre>line 28\n" in html
    assert "line 27\n" not in html
    assert "1 of 4 trials completed, 1 failed." in html


@pytest.mark.thorough
def test_the_command_is_the_one_that_was_typed(run_of, quickstart_plan, quickstart_records, tmp_path):
    """Without the folders of the machine: the sweep under its name in the run, the run directory by default."""
    session = {
        "argv": [
            "/home/me/.venv/bin/archsweep",
            "run",
            "my sweeps/quick.yaml",
            "--profile",
            "smoke",
            "--out",
            "/data/x",
        ],
        "sweep_file": "my sweeps/quick.yaml",
        "git": {"revision": "abc123", "dirty": False},
        "packages": {"archsweep": "0.1.0", "torchvision": None},
        "cwd": "/home/me",
    }
    (tmp_path / "provenance.jsonl").write_text(json.dumps(session) + "\n")
    (tmp_path / "sweep.yaml").write_text("name: quickstart  # <b>\n")
    html = make_report([Subject(run_of(quickstart_plan, quickstart_records))]).html
    assert (
        "<pre># archsweep 0.1.0: where it came from was not recorded\narchsweep run sweep.yaml --profile smoke</pre>"
        in html
    )
    assert "<pre>name: quickstart  # &lt;b&gt;</pre>" in html
    assert "/home/me" not in html


@pytest.mark.default_run("source0-lines0", "source3-lines3", "source5-lines5")
@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (
            {"kind": "git", "url": "https://host/me/a.git", "revision": "abc", "dirty": False, "is_pushed": True},
            ["pip install archsweep@git+https://host/me/a.git@abc torch==2.15.0"],
        ),
        (
            {"kind": "git", "url": "https://host/me/a.git", "revision": "abc", "dirty": True, "is_pushed": False},
            [
                "# archsweep 0.2.0 was revision abc of a checkout of https://host/me/a.git, where that revision had "
                "not been pushed: install that revision",
                "# the uncommitted changes of that checkout are not recorded",
                "pip install torch==2.15.0",
            ],
        ),
        (
            {"kind": "git", "url": "", "revision": "abc", "dirty": False, "is_pushed": False},
            [
                "# archsweep 0.2.0 was revision abc of a git checkout: install that revision",
                "pip install torch==2.15.0",
            ],
        ),
        ({"kind": "index"}, ["pip install archsweep==0.2.0 torch==2.15.0"]),
        (
            {"kind": "file", "name": "archsweep-0.2.0-py3-none-any.whl", "url": "", "sha256": "f00"},
            [
                "# archsweep 0.2.0 was a local build, archsweep-0.2.0-py3-none-any.whl (sha256 f00): install that",
                "pip install torch==2.15.0",
            ],
        ),
        (
            {"kind": "folder"},
            [
                "# archsweep 0.2.0 was a local build from a folder whose state is not recorded",
                "pip install torch==2.15.0",
            ],
        ),
    ],
)
def test_reproduction_names_what_can_be_installed(run_of, quickstart_plan, quickstart_records, tmp_path, source, lines):
    session = {"argv": ["archsweep", "run", "s.yaml"], "packages": {"archsweep": "0.2.0", "torch": "2.15.0"}}
    session |= {"sweep_file": "s.yaml", "source": {"version": "0.2.0", **source}}
    (tmp_path / "provenance.jsonl").write_text(json.dumps(session) + "\n")
    html = make_report([Subject(run_of(quickstart_plan, quickstart_records))]).html
    assert f"<pre>{chr(10).join([*lines, 'archsweep run sweep.yaml'])}</pre>" in html


def test_a_build_of_torch_is_pinned_by_its_version_and_named(run_of, quickstart_plan, quickstart_records, tmp_path):
    """`pip install torch==2.15.0+cpu` finds nothing on the package index."""
    session = {"packages": {"torch": "2.15.0+cpu"}, "source": {"version": "0.2.0", "kind": "index"}}
    (tmp_path / "provenance.jsonl").write_text(json.dumps(session) + "\n")
    html = make_report([Subject(run_of(quickstart_plan, quickstart_records))]).html
    wanted = "# torch was the build 2.15.0+cpu\npip install archsweep==0.2.0 torch==2.15.0\narchsweep run sweep.yaml"
    assert f"<pre>{wanted}</pre>" in html


def test_large_data_are_packed(run_of, plan, planned, record):
    """60 lines of 100 points: the CSV is some 300 kB, and the page carries it at a tenth of that."""
    variants = [planned(f"arm {n}", is_baseline=n == 0, changes={"x": n}) for n in range(60)]
    curve = [{"epoch": epoch, "top1": 50 + 1 / epoch} for epoch in range(1, 101)]
    records = [record(variant.name, 0, 50.01 + n, curve=curve) for n, variant in enumerate(variants)]
    report = make_report([Subject(run_of(plan(*variants, seeds=[0]), records))])
    link = next(href for href in _Page(report.html).values("href") if href.startswith("data:application/gzip"))
    assert len(link) < 50_000
    assert gzip.decompress(base64.b64decode(link.split(",", 1)[1])).decode() == figure_csv(
        dict(report.figures)["curves"]
    )


def test_two_runs_share_a_table_and_have_sections_of_their_own(run_of, plan, planned, record, tmp_path):
    def one(design, sweep, path, *names):
        variants = [planned(n, components={"a": "a" in n}, is_baseline=i == 0) for i, n in enumerate(names)]
        records = [record(n, seed, 50.0 + seed + len(n)) for n in names for seed in (0, 1)]
        run = run_of(plan(*variants, seeds=[0, 1], design=design, sweep=sweep), records)
        return Subject(Run(tmp_path / path, run.plan, run.records))

    subjects = [one("leave_one_out", "loo", "1", "a", ""), one("add_one_in", "add", "2", "-", "a")]
    report = make_report(subjects)
    assert [name for name, _ in report.figures] == [
        "run1-deltas",
        "run1-seeds",
        "run1-contributions",
        "run2-deltas",
        "run2-seeds",
    ]
    assert {"run1-top", "run2-top", "table"} <= set(_Page(report.html).sections)
    with pytest.raises(SpecError, match="the same run twice"):
        make_report([subjects[0], subjects[0]])


def test_shapley_values_are_a_table_of_the_report(run_of, plan, planned, record):
    values = {"-": 90.0, "a": 92.0, "b": 91.0, "ab": 95.0}
    variants = [
        planned(name, components={"a": "a" in name, "b": "b" in name}, is_baseline=name == "-") for name in values
    ]
    noise = {("a", 1): 0.3, ("ab", 2): 0.6}
    records = [
        record(n, seed, value + seed + noise.get((n, seed), 0)) for n, value in values.items() for seed in (0, 1, 2)
    ]
    run = run_of(plan(*variants, design="shapley"), records)
    html = make_report([Subject(run)]).html
    body = html[html.index('id="shapley"') :]
    cells = re.findall("<t[dh](?: [^>]*)?>(.*?)</t[dh]>", body[: body.index("</table>")])
    # a: (2 + 4) / 2, (2.3 + 4) / 2 and (2 + 4.6) / 2 = 3, 3.15, 3.3: 4.303 x 0.15 / sqrt(3) = 0.37; t^2 = 1323, so that
    # p = 1 - sqrt(1323 / 1325) = 0.00075, twice that after Holm.
    assert cells[:9] == [
        *("component", "Shapley value (%)", "95 % interval", "p (Holm)", "seeds", "alone", "beside all others"),
        *("value - alone", "value - beside all others"),
    ]
    assert cells[9:14] == ["a", "+3.15", "[+2.78, +3.52]", "0.0015", "3/3"]
    assert cells[27:36] == ["sum: all on minus all off", "+5.20", "[+4.34, +6.06]", "", "3/3", "", "", "", ""]


def test_words_lose_nothing_and_gain_nothing():
    assert text("a<b>&\"'\u202e\n c") == "a&lt;b&gt;&amp;&quot;&#x27;\\u202e  c"
    assert block("a\n\tb\u200f") == "a\n    b\\u200f"
    value = {"</script>": "<!-- & \u2028 \u00e9"}
    written = script_json(value)
    assert json.loads(written) == value
    assert not set(written) & set("<>&\u2028")
