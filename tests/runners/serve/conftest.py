"""A server on a real socket in a thread, and runs that are written as drivers write them."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time

import pytest

from results import (
    Failure,
    LedgerWriter,
    PlannedVariant,
    ProgressEvent,
    ProgressWriter,
    RunPlan,
    TrialRecord,
    write_plan,
)

pytest.importorskip("starlette")
uvicorn = pytest.importorskip("uvicorn")

TOKEN = "a-token-of-this-test"


class Client:
    """Requests as a browser sends them after its first visit."""

    token = TOKEN

    def __init__(self, port):
        self.port = port

    def ask(self, address, method="GET", headers=None, cookie=True):
        """Status, headers and text of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            given = {"Cookie": f"archsweep-{self.port}={TOKEN}"} if cookie else {}
            connection.request(method, address, headers=given | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode(errors="replace")

    def text(self, address):
        status, _, text = self.ask(address)
        assert status == 200, (status, text)
        return text

    def links(self, address, pattern):
        return re.findall(rf'href="({pattern})"', self.text(address))

    def run(self, index=0):
        """The address of a run in the order of the overview by name."""
        return self.links("/?sort=name", "/run/[0-9a-f]+")[index]

    def until(self, address, is_there, seconds=60):
        """The text of the address once it holds what is waited for."""
        deadline = time.monotonic() + seconds
        while not is_there(text := self.text(address)):
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
        return text


@pytest.fixture
def serving():
    """Serves a folder until the end of the test."""
    from results.live.library import Library
    from runners.serve.access import Door
    from runners.serve.app import make_app
    from runners.session.reports import report_subject

    with contextlib.ExitStack() as stack:

        def serve(folder):
            listening = socket.create_server(("127.0.0.1", 0))
            app = make_app(Library(folder, report_subject, pause=0.1), Door(TOKEN))
            config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_level="critical")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()

            def end():
                server.should_exit = True
                thread.join(30)
                listening.close()

            stack.callback(end)
            return Client(listening.getsockname()[1])

        yield serve


def make_run(path, *, name="baseline", other="other", values=(90.0, 91.0), failure=None, running=False):
    """A run of two variants: two completed seeds of the baseline, the other's first one failed or running."""
    variants = [PlannedVariant(name=name, variant_id="b", is_baseline=True), PlannedVariant(name=other, variant_id="o")]
    write_plan(path, RunPlan(sweep="small", design="list", metric="top1", seeds=[0, 1], variants=variants, epochs=3))

    def record(trial_id, variant_id, variant, seed, **fields):
        base = {
            "trial_id": trial_id,
            "variant_id": variant_id,
            "variant": variant,
            "seed": seed,
            "spec": {"seed": seed},
        }
        return TrialRecord.model_validate({**base, "finished_at": "2026-12-01T10:00:00+00:00", **fields})

    curve = [{"epoch": epoch, "top1": 80.0 + epoch, "train_loss": 2.0 / epoch} for epoch in (1, 2, 3)]
    with LedgerWriter(path) as ledger, ProgressWriter(path, ledger.summaries) as progress:
        for seed, value in enumerate(values):
            ledger.append(
                record(f"b{seed}", "b", name, seed, status="completed", epochs=3, metrics={"top1": value}, curve=curve)
            )
        if failure:
            found = Failure(type="OutOfMemory", message=failure, traceback=f"Traceback\n  {failure}", epoch=2)
            ledger.append(record("o0", "o", other, 0, status="failed", failure=found))
        if running:
            ids = ("o0", other, 0)
            progress.append(ProgressEvent(1_795_246_000.0, *ids, "start"))
            for point in curve[:2]:
                progress.append(ProgressEvent(1_795_246_010.0, *ids, "epoch", point))
    return path


@pytest.fixture(name="make_run")
def make_run_fixture():
    return make_run
