"""`archsweep report` as a person calls it, and its page in a real browser from the disk."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from results.report.document import script_hash

SWEEP = r"""
name: evil
description: "</script><script>document.title='owned'</script>"
baseline:
  arch: {model: vit, depth: 2, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits, probes: [cross_layer_similarity], probe_arrays: true}
  train: {epochs: 2, batch_size: 512, lr: 0.003}
space: {}
design:
  name: list
  rows:
    - {name: "</script><img src=x onerror=document.title='owned'>", arch.mlp_ratio: 1}
    - {name: "<script>document.title='owned'</script>", arch.depth: 3}
    - {name: "diverges \u202e", train.lr: 1.0e+30}
seeds: 2
metric: top1
"""
SEARCH = """
name: seek
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  train: {epochs: 1, batch_size: 512, lr: 0.003}
space: {train.lr: {min: 0.001, max: 0.01, log: true}, arch.depth: [1, 2]}
design: search
search: {sampler: random, num_trials: 6}
seeds: 1
metric: top1
"""
_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def evil_run(archsweep, tmp_path_factory):
    """A real run with names that want to be markup, and a variant whose trials fail."""
    folder = tmp_path_factory.mktemp("evil")
    (folder / "evil.yaml").write_text(SWEEP)
    done = archsweep("run", "evil.yaml", "--engine", "in-process", cwd=folder)
    assert done.returncode == 3, done.stderr
    done = archsweep("report", "runs/evil", "--figures", "paper", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.thorough
def test_a_report_and_its_figures_as_files(evil_run):
    folder, printed = evil_run
    names = ["deltas", "seeds", "cost", "curves", "attention_similarity"]
    assert {path.name for path in (folder / "paper").iterdir()} == {
        f"{name}.{suffix}" for name in names for suffix in ("svg", "pdf", "csv")
    }
    size = (folder / "runs/evil/report.html").stat().st_size
    assert printed == (f"report: runs/evil/report.html  ({size / 1e6:.1f} MB)\nfigures: paper  (5 figures, 15 files)\n")
    assert size < 1.3e6  # the library for charts takes 0.9


_WATCH = """
setTimeout(() => {
  document.body.dataset.width = document.body.scrollWidth;
  for (const mark of document.querySelectorAll(".chart svg .mark-symbol.role-mark path")) {
    const box = mark.getBoundingClientRect();
    const at = {bubbles: true, clientX: box.x + box.width / 2, clientY: box.y + box.height / 2};
    for (const kind of ["pointerover", "pointermove"]) mark.dispatchEvent(new PointerEvent(kind, at));
    document.body.insertAdjacentText("beforeend", "tip: " + document.getElementById("vg-tooltip-element").textContent);
    break;
  }
}, 5000);
"""
"""Measures the page, and points at the first mark of a chart."""


@pytest.mark.thorough
@pytest.mark.skipif(_BROWSER is None, reason="no Chromium is installed (Debian: apt install chromium)")
def test_a_browser_draws_every_chart_executes_no_name_and_sends_no_request(evil_run, tmp_path):
    """Opened from the disk, as wide as a phone: charts are live, nothing needs scrolling sideways, the console is
    silent, names are text in axes and tooltips, too, and nothing but the file itself was requested."""
    page = (evil_run[0] / "runs" / "evil" / "report.html").read_text()
    head, tail = page.replace("script-src ", f"script-src {script_hash(_WATCH)} ", 1).rsplit("</body>", 1)
    copy = tmp_path / "watched.html"
    # A window of a headless browser is 500 wide at least.
    head = head.replace("<style>", "<style>html { width: 400px; } body { margin: 0; }", 1)
    copy.write_text(f"{head}<script>{_WATCH}</script></body>{tail}")
    command = [str(_BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--enable-logging=stderr", f"--log-net-log={tmp_path}/net.json", "--virtual-time-budget=20000"]
    command += ["--dump-dom", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.count('data-drawn="live"') == 5
    assert len(re.findall(r'<svg [^>]*class="marks"', done.stdout)) == 5
    assert int(re.findall(r'data-width="(\d+)"', done.stdout)[0]) <= 400
    assert "<title>evil</title>" in done.stdout
    assert re.findall(r"^.*CONSOLE.*(?:Error|error|Refused|violates).*$", done.stderr, re.MULTILINE) == []
    name = "&lt;/script&gt;&lt;img src=x onerror=document.title='owned'&gt;"
    assert f"tip: variant{name}delta" in done.stdout
    assert "<img src=x" not in done.stdout
    log = json.loads(Path(tmp_path / "net.json").read_text())
    kinds = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    # The browser asks its maker for updates; what a page asks for has an initiator.
    asked = [
        event["params"]["url"]
        for event in log["events"]
        if kinds[event["type"]] == "URL_REQUEST_START_JOB" and event.get("params", {}).get("initiator") == "null"
    ]
    assert asked == []


@pytest.mark.thorough
def test_a_search_shows_importances_or_says_why_not(archsweep, tmp_path):
    (tmp_path / "seek.yaml").write_text(SEARCH)
    assert archsweep("run", "seek.yaml", "--engine", "in-process", cwd=tmp_path).returncode == 0
    done = archsweep("report", "runs/seek", "-o", "seek.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'id="importances"' in (tmp_path / "seek.html").read_text()
    ledger = tmp_path / "runs" / "seek" / "ledger.jsonl"
    ledger.write_text("".join(ledger.read_text().splitlines(keepends=True)[:3]))
    assert archsweep("report", "runs/seek", "-o", "seek.html", cwd=tmp_path).returncode == 0
    page = (tmp_path / "seek.html").read_text()
    assert 'id="importances"' not in page
    assert "importances need 4 completed trials of the present space, but there are 3" in page


@pytest.mark.slow
@pytest.mark.thorough
def test_a_search_in_which_nothing_mattered_has_a_report(archsweep, tmp_path):
    """Every trial has the same metric: the report says so instead of shares of no variance."""
    (tmp_path / "seek.yaml").write_text(SEARCH)
    assert archsweep("run", "seek.yaml", "--engine", "in-process", cwd=tmp_path).returncode == 0
    ledger = tmp_path / "runs" / "seek" / "ledger.jsonl"
    records = [json.loads(line) for line in ledger.read_text().splitlines()]
    for record in records:
        record["metrics"] = dict.fromkeys(record["metrics"], 50.0)
    ledger.write_text("".join(json.dumps(record) + "\n" for record in records))
    done = archsweep("report", "runs/seek", "-o", "seek.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "seek.html").read_text()
    assert 'id="importances"' not in page
    assert f"all {len(records)} completed trials have the same top1 (50), so no parameter can matter" in page


def test_errors_are_reported_with_a_message(archsweep, tmp_path):
    done = archsweep("report", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "archsweep: 1 problem\n\nnowhere: no run: nothing there\n"
        "  a run directory contains plan.json and ledger.jsonl\n"
        "  there is no run nearby; `archsweep run SWEEP` makes one\n"
    )
    done = archsweep("report", "one", "two", cwd=tmp_path)
    assert done.returncode == 2
    assert "the report of several runs needs an output file" in done.stderr
