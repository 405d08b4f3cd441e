"""The pages over a real socket: what they show, what they refuse, and what hostile or broken runs do to them."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import shutil

import pytest

from results import LedgerWriter, write_tables
from results.store.run_layout import RunDir

HOSTILE = "</title></script><img src=x onerror=alert(1)>\"'{{7*7}}${7*7}&\u202egnp.exe\x1b[2J\n<b>"


def test_the_overview_lists_every_run_with_its_state(serving, make_run, tmp_path):
    make_run(tmp_path / "done", values=(90.0, 91.0), failure="no room")
    make_run(tmp_path / "dead", running=True)
    make_run(tmp_path / "alive", running=True)
    with open(RunDir(tmp_path / "alive").lock, "w") as lock:  # another process holds it: here another descriptor
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = serving(tmp_path)
        page = client.text("/?sort=name")
        assert "3 runs" in page
        rows = page.split("<tr>")[2:]
        assert [row.split("</a>")[0].rpartition(">")[2] for row in rows] == ["alive", "dead", "done"]
        assert ['badge running"' in rows[0], 'badge crashed"' in rows[1], 'badge interrupted"' in rows[2]] == [True] * 3
        assert "3/4" in rows[2]
        assert "1 failed" in rows[2]
        assert "<b>91</b> top1" in rows[2]
    client.until("/?sort=name", lambda text: text.count('badge crashed"') == 2)


def test_the_overview_is_filtered_sorted_and_in_pages(serving, make_run, tmp_path):
    source = make_run(tmp_path / "x")
    for number in range(130):
        shutil.copytree(source, tmp_path / f"run{number:03d}")
    shutil.rmtree(source)
    client = serving(tmp_path)
    first = client.until("/?sort=name", lambda text: "being read" not in text)
    assert (first.count('scope="row"'), "page 1 of 2" in first) == (100, True)
    assert client.text("/?sort=name&page=2").count('scope="row"') == 30
    assert client.text("/?sort=-name").index("run129") < client.text("/?sort=-name").index("run128")
    assert client.text("/?q=RUN01").count('scope="row"') == 10
    assert client.text("/?state=crashed").count('scope="row"') == 0
    assert client.text("/?page=-1&sort=;drop&state=%00&q=").count('scope="row"') == 100
    assert client.text("/?page=999999").count('scope="row"') == 30


def test_a_run_has_its_table_trials_failures_plan_and_files(serving, make_run, tmp_path):
    make_run(tmp_path / "run", failure="no room on the device", running=False)
    client = serving(tmp_path)
    address = client.run()
    page = client.until(address, lambda text: "Of 3 records" in text)
    assert "3 of 4" in page
    assert "90.50" in page  # the mean of 90 and 91
    assert "OutOfMemory: no room on the device" in page
    assert "<td>small</td>" in page
    figures = client.until(f"{address}/figures", lambda text: 'id="curves"' in text)
    assert "data:image/svg+xml" in figures
    trials = client.links(f"{address}/trials?sort=variant", rf"{address}/trial/[0-9a-f]+")
    assert len(trials) == 3
    trial = client.text(trials[0])
    assert "<h1>baseline, seed 0</h1>" in trial
    assert "epoch 3" in trial
    assert "no room on the device" in client.text(trials[2])


def test_files_are_made_of_what_is_recorded_now(serving, make_run, tmp_path):
    """Equal to what `archsweep run` writes at its end, although nothing was written here."""
    run = make_run(tmp_path / "run")
    client = serving(tmp_path)
    address = client.run()
    names = ("table.csv", "table.tex", "table.md", "trials.csv", "curves.csv")
    found = {name: client.ask(f"{address}/file/{name}") for name in (*names, "report.html")}
    assert {path.name for path in run.iterdir()} == {"ledger.jsonl", "plan.json", "progress.jsonl", "driver.lock"}
    write_tables(run)
    for name in (*names[:1], *names[3:]):
        with open(run / name, newline="", encoding="utf-8") as stream:
            assert found[name][2] == stream.read()
    assert found["table.tex"][2].startswith("%") or "\\begin" in found["table.tex"][2]
    assert all(f'filename="{name}"' in found[name][1]["Content-Disposition"] for name in found)
    assert next(csv.DictReader(io.StringIO(found["table.csv"][2])))["variant"] == "baseline"
    assert "sandbox" in found["report.html"][1]["Content-Security-Policy"]


def test_a_written_report_is_served_in_an_origin_of_its_own(serving, make_run, tmp_path):
    run = make_run(tmp_path / "run")
    client = serving(tmp_path)
    address = client.run()
    assert client.ask(f"{address}/report")[0] == 404
    (run / "report.html").write_text("<script>fetch('/')</script>")
    status, headers, text = client.ask(f"{address}/report")
    assert (status, text) == (200, "<script>fetch('/')</script>")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy


def test_unchanged_versions_are_answered_without_content(serving, make_run, tmp_path):
    run = make_run(tmp_path / "run")
    client = serving(tmp_path)
    address = client.run()
    client.until(f"{address}/versions", lambda text: '-"' not in text)
    status, headers, text = client.ask(f"{address}/versions")
    before = json.loads(text)
    assert client.ask(f"{address}/versions", headers={"If-None-Match": headers["ETag"]})[::2] == (304, "")
    first = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)[0]
    with open(run / "ledger.jsonl", "ab") as stream:
        stream.write(first.replace(b'"b0"', b'"o1"').replace(b'"baseline"', b'"other"').replace(b'"b"', b'"o"'))
    status, _, text = client.ask(f"{address}/versions", headers={"If-None-Match": headers["ETag"]})
    assert status == 200
    assert json.loads(text)["state"] != before["state"]
    client.until(f"{address}/part/table", lambda text: "Of 3 records" in text)


def test_every_answer_has_the_headers_that_keep_others_out(serving, make_run, tmp_path):
    make_run(tmp_path / "run")
    client = serving(tmp_path)
    address = client.run()
    for path in ("/", address, f"{address}/versions", f"{address}/file/table.csv", "/static/live.js", "/nothing"):
        _, headers, _ = client.ask(path)
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == ("no-store" if "static" not in path else "private, max-age=86400")
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"].replace(
            "style-src-attr 'unsafe-inline'", ""
        ) or ("sandbox" in headers["Content-Security-Policy"])
        assert headers["X-Frame-Options"] == "DENY"
        assert "Server" not in headers or "uvicorn" in headers["Server"]  # the verb switches it off


def test_without_the_token_nothing_is_shown_and_nothing_can_be_written(serving, make_run, tmp_path):
    make_run(tmp_path / "run")
    client = serving(tmp_path)
    address = client.run()
    for path in ("/", address, "/static/live.js", f"{address}/file/trials.csv", "/nothing"):
        status, _, text = client.ask(path, cookie=False)
        assert (status, "run" in text.replace("runs", "")) == (403, False)
        assert client.ask(path, headers={"Host": "evil.example"})[0] == 421
        assert client.ask(path, method="POST")[0] == 405
    status, headers, text = client.ask(f"{address}?token={client.token}", cookie=False)
    assert (status, headers["Location"], text) == (303, address, "")
    assert client.ask(f"/?token={client.token}x", cookie=False)[0] == 403
    assert client.ask("/", method="HEAD")[::2] == (200, "")


@pytest.mark.parametrize(
    "path",
    [
        "/run/..", "/run/../../etc/passwd", "/run/%2e%2e", "/run/%2fetc%2fpasswd", "/run/run",
        "/run/KEY/file/../plan.json",
        "/run/KEY/file/plan.json", "/run/KEY/file/%2e%2e%2fplan.json", "/run/KEY/part/state.html", "/run/KEY/trial/..",
        "/run/KEY/trial/b0", "/run/KEY/trial/../../plan.json", "/static/../app.py", "/static/..%2f..%2fapp.py",
        "/static/live.css.j2", "//etc/passwd", "/run/KEY/report/../ledger.jsonl", "/run/%00", "/run/KEY%00",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(serving, make_run, tmp_path, path):
    make_run(tmp_path / "run")
    client = serving(tmp_path)
    path = path.replace("KEY", client.run().rpartition("/")[2])
    assert client.ask(path)[0] == 404


def test_huge_requests_are_refused_or_answered_and_the_next_one_too(serving, make_run, tmp_path):
    make_run(tmp_path / "run")
    client = serving(tmp_path)
    assert client.ask("/?q=" + "x" * 20_000)[0] == 200
    for headers, address in ({}, "/?q=" + "x" * 2_000_000), ({"X": "y" * 1_000_000}, "/"):
        with contextlib.suppress(ConnectionError):  # it need not listen to the end
            assert client.ask(address, headers=headers)[0] in (400, 414, 431)
    assert client.ask("/?" + "&".join(f"a{number}=1" for number in range(5000)))[0] in (200, 400)
    assert client.ask("/")[0] == 200


def test_hostile_words_are_text_on_every_page(serving, make_run, tmp_path):
    run = make_run(tmp_path / f"r {HOSTILE.replace('/', '_')}", name=HOSTILE, other=HOSTILE * 40, failure=HOSTILE)
    trial = RunDir(run).trial("b0")
    trial.path.mkdir(parents=True)
    trial.log.write_text(f"{HOSTILE}\n")
    client = serving(tmp_path)
    address = client.run()
    client.until(f"{address}/part/table", lambda text: "Of 3 records" in text)
    figures = client.until(f"{address}/part/figures", lambda text: 'id="curves"' in text)
    trials = client.links(f"{address}/trials", rf"{address}/trial/[0-9a-f]+")
    pages = ["/", address, f"{address}/trials", f"{address}/trials?state=failed", f"{address}/figures", *trials]
    for path in pages:
        text = client.text(path)
        assert "&lt;img src=x onerror=alert(1)&gt;" in text, path
        assert not any(mark in text for mark in ("<img src=x", "</script><img", "\x1b", "\u202e")), path
    assert "<img src=x" not in figures


def test_the_words_of_an_address_are_text(serving, make_run, tmp_path):
    make_run(tmp_path / "run")
    client = serving(tmp_path)
    text = client.text("/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&sort=%22%3E%3Cb%3E&state=%3Cb%3E")
    assert "<script>alert" not in text
    assert '"><b>' not in text
    assert "No run matches" in text


def test_a_torn_last_line_is_tolerated(serving, make_run, tmp_path):
    run = make_run(tmp_path / "run", running=True)
    with open(run / "ledger.jsonl", "ab") as stream:
        stream.write(b'{"trial_id": "o0", "va')
    client = serving(tmp_path)
    page = client.until(client.run(), lambda text: "Of 2 records" in text)
    assert 'badge crashed"' in page
    assert "The driver died while 1 trial was running" in page
    assert "the ledger ends in a half-written line" in page
    assert '<svg class="spark"' in page
    assert "90.50" in page


def test_a_broken_run_says_what_is_wrong_and_others_are_shown(serving, make_run, tmp_path):
    make_run(tmp_path / "a")
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b" / "plan.json")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "plan.json").write_text("[]")
    make_run(tmp_path / "d")
    with open(tmp_path / "d" / "ledger.jsonl", "ab") as stream:
        stream.write(b"no record\n")
    make_run(tmp_path / "e")
    (tmp_path / "secret").write_text("of the user\n")
    (tmp_path / "e" / "ledger.jsonl").unlink()
    (tmp_path / "e" / "ledger.jsonl").symlink_to(tmp_path / "secret")
    client = serving(tmp_path)
    page = client.until("/?sort=name", lambda text: "being read" not in text)
    assert page.count("badge unreadable") == 4
    assert page.count("badge interrupted") == 1
    words = ["is no plain file", "not the plan of a run", "not a trial record", "leads out of the run directory"]
    whole, piped, *_ = [client.text(address) for address in client.links("/?sort=name", "/run/[0-9a-f]+")]
    assert "2 of 4" in whole
    assert "is no plain file" in piped
    text = client.text("/")
    assert all(word in text for word in words)
    assert "of the user" not in text


def test_runs_appear_and_disappear_while_they_are_served(serving, make_run, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    client = serving(folder)
    assert "No run here yet" in client.text("/")
    make_run(folder / "run")
    client.until("/", lambda text: "/run/" in text)
    address = client.run()
    client.until(address, lambda text: "Of 2 records" in text)
    shutil.rmtree(folder / "run")
    for path in (address, f"{address}/versions", f"{address}/part/state", f"{address}/file/trials.csv"):
        assert client.ask(path)[0] in (200, 404, 500)
    client.until("/", lambda text: "No run here yet" in text)
    assert client.ask(address)[0] == 404
    shutil.rmtree(folder)
    client.until("/", lambda text: "not there" in text)


def test_a_retried_trial_is_shown_as_running(serving, make_run, tmp_path):
    """Failed once and begun again: its page has the present curve, not the old failure."""
    make_run(tmp_path / "run", failure="no room")
    from results import ProgressEvent, ProgressWriter

    with LedgerWriter(tmp_path / "run") as ledger, ProgressWriter(tmp_path / "run", ledger.summaries) as progress:
        for kind in ("start", "end", "start"):
            progress.append(ProgressEvent(1_795_246_000.0, "o0", "other", 0, kind))
        client = serving(tmp_path)
        address = client.run()
        page = client.text(f"{address}/trials?state=running")
        assert page.count('scope="row"') == 1
        trial = client.links(f"{address}/trials?state=running", rf"{address}/trial/[0-9a-f]+")[0]
        assert "No epoch has ended yet" in client.text(trial)
