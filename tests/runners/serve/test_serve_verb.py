"""`archsweep serve` as it is called: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def started(tmp_path):
    """Starts the command in a process of its own."""
    processes = []

    def start(*arguments):
        command = [sys.executable, "-m", "runners.cli", "serve", *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.thorough
def test_it_prints_its_address_answers_and_ends_by_ctrl_c(started, make_run, tmp_path):
    make_run(tmp_path / "runs" / "one")
    process = started("--port", "0")
    lines = [process.stdout.readline().rstrip("\n") for _ in range(5)]
    assert lines[0] == "serving runs, read-only, until Ctrl-C"
    found = re.fullmatch(r"  http://127\.0\.0\.1:(\d+)/\?token=([\w-]{43})", lines[2])
    assert found, lines
    port, token = int(found[1]), found[2]
    machine = socket.gethostname()
    assert lines[4] == f"from another machine: ssh -N -L {port}:127.0.0.1:{port} {machine}, then the same address there"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/", headers={"Cookie": f"archsweep-{port}={token}"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Server"]) == (200, None)
    assert ">one</a>" in answer.read().decode()
    process.send_signal(signal.SIGINT)  # while the connection is open
    out, err = process.communicate(timeout=60)
    connection.close()
    assert (process.returncode, out, err) == (0, "archsweep serve: ended\n", "")


def test_a_port_in_use_is_refused(archsweep, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = archsweep("serve", ".", "--port", port, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "archsweep: 1 problem\n\n"
        f"--port {port}: another program uses this port\n"
        "  choose another one, or --port 0 for any that is free\n"
    )


def test_a_folder_that_is_none_is_refused(archsweep, tmp_path):
    (tmp_path / "file").touch()
    for name, came in ("missing", "no such folder"), ("file", "is a file"):
        done = archsweep("serve", name, cwd=tmp_path)
        assert (done.returncode, f"{name}: {came}\n" in done.stderr) == (2, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_other_machines_are_not_let_in_without_the_flag(archsweep, tmp_path, host):
    done = archsweep("serve", ".", "--host", host, cwd=tmp_path)
    assert done.returncode == 2
    assert f"--host {host}: other machines could reach this address\n" in done.stderr
    assert "--remote" in done.stderr


def test_an_address_of_no_machine_is_refused(archsweep, tmp_path):
    done = archsweep("serve", ".", "--host", "127.0.0.1", "--port", "70000", cwd=tmp_path)
    assert done.returncode == 2


def test_without_the_extra_the_install_line_is_named(archsweep, tmp_path):
    with patch.dict(sys.modules, {"starlette": None}):
        done = archsweep("serve", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "needs starlette, which is not installed\n  pip install 'archsweep[serve]'\n" in done.stderr
