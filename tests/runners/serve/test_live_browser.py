"""The pages in a real headless browser, while a real sweep runs, with hostile names, and after a crash.

Chromium is driven over its debugging pipe (the DevTools protocol: JSON messages that end in a zero byte).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_BROWSER is None, reason="no Chromium is installed (Debian: apt install chromium)"),
]
SWEEP = r"""
name: evil
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits, val_fraction: 0.2}
  train: {epochs: EPOCHS, batch_size: 256, lr: 0.003}
space: {}
design:
  name: list
  rows:
    - {name: "</script><img src=x onerror=document.title='owned'>", arch.mlp_ratio: 1}
    - {name: "\"'><script>document.title='owned'</script> \u202eevil", arch.depth: 2}
    - {name: "LONG", train.lr: 1.0e+30}
seeds: 1
metric: top1
""".replace("LONG", "very-long-name-" * 7)


class PageError(Exception):
    """A call that failed, which is usual while a page is exchanged for the next one."""


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, profile):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self._in, self._out = ours_in, ours_out
        self._numbers, self._rest, self.events = itertools.count(1), b"", []
        self._session = {}
        options = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
        options += " --disable-component-update --disable-sync --remote-debugging-pipe"
        # The browser reads from 3 and writes to 4; the interpreter in between puts the pipes there.
        start = "import os, sys; a = sys.argv; os.dup2(int(a[1]), 3); os.dup2(int(a[2]), 4); os.execv(a[3], a[3:])"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", start, str(theirs_in), str(theirs_out), str(_BROWSER)),
                *(*options.split(), f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **self._session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                got = os.read(self._in, 1 << 20)
                assert got, "the browser has ended"
                self._rest += got
            text, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == number:
                if "error" in answer:
                    raise PageError(answer["error"])
                return answer["result"]
            self.events.append(answer)

    def evaluate(self, code):
        answer = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise PageError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def open(self, address, *, width=1280, height=900, scripts=True):
        is_phone = width < 600
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone
        )
        before = len(self.events)
        self.call("Page.navigate", url=address)
        deadline = time.monotonic() + 60
        while not any(event["method"] == "Page.loadEventFired" for event in self.events[before:]):
            assert time.monotonic() < deadline, address
            time.sleep(0.05)
            self.call("Page.getFrameTree")  # events are read while an answer is waited for

    def until(self, code, seconds=90):
        """Waits until the code is true in the page."""
        deadline = time.monotonic() + seconds
        found = None
        while not found:
            assert time.monotonic() < deadline, (code, self.evaluate("document.body.innerText.slice(0, 3000)"))
            time.sleep(0.1)
            with contextlib.suppress(PageError):
                found = self.evaluate(code)
        return found

    def complaints(self):
        """Errors of the console and of the policy, and exceptions."""
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event["method"] == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(parameters["entry"]["text"])
            if event["method"] == "Runtime.exceptionThrown":
                found.append(parameters["exceptionDetails"]["text"])
        return found

    def requested(self):
        """Addresses of all requests."""
        sent = (event for event in self.events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def close(self):
        os.close(self._out)
        os.close(self._in)
        self._process.wait(60)


@pytest.fixture
def browse(tmp_path):
    browsers = []

    def browse_():
        browsers.append(Browser(tmp_path / f"profile{len(browsers)}"))
        return browsers[-1]

    yield browse_
    for browser in browsers:
        browser.close()


@pytest.fixture
def sweeping(tmp_path):
    """Starts the sweep of hostile names in a process of its own."""
    processes = []

    def start(epochs):
        (tmp_path / "evil.yaml").write_text(SWEEP.replace("EPOCHS", str(epochs)))
        command = [sys.executable, "-m", "runners.cli", "run", "evil.yaml", "--engine", "in-process", "--no-cache"]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_sweep_is_followed_from_its_start_to_its_end(serving, sweeping, browse, tmp_path):
    """Nothing is reloaded: the page opened on an empty folder shows the run, its page the growing curve, the table as
    it fills and the charts. Names are text everywhere, the console is silent, and only our server was asked."""
    (tmp_path / "runs").mkdir()
    client, browser = serving(tmp_path / "runs"), browse()
    base = f"http://127.0.0.1:{client.port}"
    browser.open(f"{base}/?token={client.token}")
    browser.until("document.body?.innerText.includes('No run here yet')")
    assert browser.evaluate("location.href") == f"{base}/"
    assert browser.evaluate("document.cookie") == ""  # no script can read it
    process = sweeping(200)
    browser.until("document.querySelector('.badge.running') !== null")
    browser.evaluate("document.querySelector('.runs a[href^=\"/run/\"]').click()")
    browser.until("document.querySelectorAll('.trials .spark path').length >= 2")
    before = browser.until("Number(document.querySelector('.trials progress')?.value ?? 0)")
    browser.evaluate("window.opened = 1")
    browser.until(f"Number(document.querySelector('.trials progress')?.value ?? 0) > {before}")
    browser.until("document.querySelector('.badge.finished, .badge.interrupted') !== null", 240)
    assert process.wait(60) == 3  # one row fails
    browser.until("document.querySelector('#table')?.innerText.includes('Of 4 records')")
    browser.until("document.querySelector('#failures') !== null")
    browser.until("document.querySelectorAll('.chart[data-drawn=live] svg.marks').length >= 2")
    assert browser.evaluate("window.opened") == 1
    assert "owned" not in browser.evaluate("document.title")
    assert browser.evaluate("document.querySelectorAll('img[src=x], main script:not([type])').length") == 0
    assert browser.evaluate("document.body.innerText.includes(\"<img src=x onerror=document.title='owned'>\")")
    assert browser.evaluate("document.body.innerText.includes('\\u202e')") is False
    browser.evaluate('document.querySelector(\'#table a[href*="/trial/"], #state a[href*="/trials"]\').click()')
    browser.until("location.pathname.endsWith('/trials') && document.querySelectorAll('.badge.completed').length === 3")
    browser.evaluate("document.querySelector('.trials tbody a').click()")
    browser.until("document.querySelectorAll('.curve path').length > 0 || document.querySelector('.warning') !== null")
    assert browser.complaints() == []
    assert {address.split("/")[2] for address in browser.requested() if address.startswith("http")} == {
        f"127.0.0.1:{client.port}"
    }
    assert [address for address in browser.requested() if "token" in address] == [f"{base}/?token={client.token}"]


def test_after_kill_9_the_page_has_everything_that_was_recorded(serving, sweeping, browse, tmp_path):
    process = sweeping(400)
    client, browser = serving(tmp_path / "runs"), browse()
    browser.open(f"http://127.0.0.1:{client.port}/?token={client.token}")
    browser.until("document.querySelector('.badge.running') !== null")
    browser.evaluate("document.querySelector('.runs a[href^=\"/run/\"]').click()")
    browser.until("Number(document.querySelector('.trials progress')?.value ?? 0) >= 3")
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    with open(tmp_path / "runs" / "evil" / "ledger.jsonl", "ab") as stream:
        stream.write(b'{"version": 1, "trial_id": "hal')  # as a power cut leaves it
    browser.until("document.querySelector('.badge.crashed') !== null")
    text = browser.until("document.querySelector('#state').innerText")
    assert "The driver died while 1 trial was running" in text
    assert "the ledger ends in a half-written line" in text
    assert browser.evaluate("document.querySelectorAll('.trials .spark path').length") >= 1
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_window(serving, make_run, browse, tmp_path, width):
    """Tables scroll inside their boxes, on a phone too, where names are not broken after every sixth letter."""
    path = make_run(
        tmp_path / "runs" / ("long-" * 40), name="b" * 400, other="o" * 400, failure="x" * 3000, running=True
    )
    last = (path / "ledger.jsonl").read_text().splitlines()[1]
    pruned = last.replace('"b1"', '"o1"').replace("b" * 400, "o" * 400).replace('"b"', '"o"')
    with open(path / "ledger.jsonl", "a") as stream:
        stream.write(pruned.replace('"completed"', '"pruned"') + "\n")
    client, browser = serving(tmp_path / "runs"), browse()
    run = client.run()
    client.until(f"{run}/part/figures", lambda text: 'id="curves"' in text)
    pages = ["/", run, f"{run}/trials", *client.links(f"{run}/trials", rf"{run}/trial/[0-9a-f]+")]
    for page in pages:
        browser.open(f"http://127.0.0.1:{client.port}{page}?token={client.token}", width=width, height=844)
        browser.until("Number(document.documentElement.dataset.live) >= 1")
        if page == run:
            browser.until("document.querySelectorAll('.chart[data-drawn=live]').length > 0")
            cells = "[...document.querySelectorAll('#figures .list td:first-child')].map(cell => cell.offsetWidth)"
            assert min(browser.evaluate(cells)) >= 128
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, page
    assert browser.complaints() == []


def test_a_page_can_be_read_without_scripts(serving, make_run, browse, tmp_path):
    make_run(tmp_path / "runs" / "one", failure="no room")
    client, browser = serving(tmp_path / "runs"), browse()
    run = client.run()
    client.until(f"{run}/part/figures", lambda text: 'id="curves"' in text)
    base = f"http://127.0.0.1:{client.port}"
    browser.open(f"{base}{run}?token={client.token}", scripts=False)
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    text = browser.call("DOM.getOuterHTML", nodeId=root)["outerHTML"]
    assert "data-live" not in text
    assert "90.50" in text
    assert "no room" in text
    assert re.search(r"20\d\d-\d\d-\d\d", text)  # absolute times, of the day on which the test runs
    assert f'href="{run}/figures"' in text


def test_two_tabs_and_a_run_that_goes_away(serving, make_run, browse, tmp_path):
    """Each tab follows the run; once it is removed they say that what they show may be old."""
    run_dir = make_run(tmp_path / "runs" / "one")
    client = serving(tmp_path / "runs")
    tabs = [browse(), browse()]
    run = client.run()
    for tab in tabs:
        tab.open(f"http://127.0.0.1:{client.port}{run}?token={client.token}")
        tab.until("document.querySelector('#table')?.innerText.includes('Of 2 records')")
    first = (run_dir / "ledger.jsonl").read_bytes().splitlines(keepends=True)[0]
    with open(run_dir / "ledger.jsonl", "ab") as stream:
        stream.write(first.replace(b'"b0"', b'"o1"').replace(b'"baseline"', b'"other"').replace(b'"b"', b'"o"'))
    for tab in tabs:
        tab.until("document.querySelector('#table')?.innerText.includes('Of 3 records')")
        tab.evaluate("document.querySelectorAll('.ablation thead button')[2].click()")
    assert tabs[0].evaluate("document.querySelectorAll('[aria-sort=ascending]').length") == 1
    shutil.rmtree(run_dir)
    for tab in tabs:
        tab.until("document.getElementById('connection').innerText.includes('not below the served folder')")
