"""Where a forkserver comes from, what it has imported, and in which surroundings its trials find themselves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runners.engines.forkserver.client import ForkedProcess
from runners.engines.forkserver.trial_target import preload, trial_request

ROOT = Path(__file__).parents[3]
# A trial's process, whose `main` reports what it finds. Torch is not needed for that.
SURROUNDINGS = """
import os, socket, sys, types
from runners.engines.forkserver.server import Forkserver
from runners.engines.forkserver.trial_target import run_forked_trial

def main(connection, job):
    found = sys.modules["__main__"]
    connection.send((job, dict(os.environ), os.getcwd(), sys.path, sys.argv[1:], hasattr(found, "SURROUNDINGS")))

sys.modules["runners.engines.ray.trial_process"] = types.SimpleNamespace(main=main)
SURROUNDINGS = True
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print(flush=True)
Forkserver(listener, os.dup(0), run_forked_trial).serve()
os._exit(0)
"""
FORKED = """
import os, signal, sys
from pathlib import Path
from runners.engines.forkserver.client import ForkedProcess
from runners.engines.forkserver.start import forked_forkserver, node_forkserver
from runners.engines.forkserver.trial_target import VARIABLE, trial_request

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as some that start programs leave it
with forked_forkserver("classification"):
    address = os.environ[VARIABLE]
    print("torch" in sys.modules, "ray" in sys.modules, Path(address).parent.stat().st_mode & 0o777)
    with node_forkserver("classification"):
        print(os.environ[VARIABLE] == address)
    job = {"checkpoints": {"grace_seconds": 1}, "log": "", "resources": {"cpus": "three"}}
    trial = ForkedProcess(address, trial_request(job, os.environ))
    kind, content = trial.connection.recv()
    print(kind, content["type"], trial.exit_code())
    trial.close()
    (child,) = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    print(Path(f"/proc/{child}/comm").read_text().strip(), len(os.listdir(f"/proc/{child}/task")))
    print(sorted({os.readlink(entry).split(":")[0] for entry in Path(f"/proc/{child}/fd").iterdir()}))
print(VARIABLE in os.environ, Path(address).parent.exists())
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""
NOT_FRESH = """
import os, sys, threading
from runners.engines.forkserver.start import forked_forkserver
{made}
with forked_forkserver("classification"):
    print(os.environ.get("ARCHSWEEP_FORKSERVER"), "timm" in sys.modules)
done.set()
"""
WITH_A_THREAD = "done = threading.Event(); threading.Thread(target=done.wait).start()"
WITH_A_PLUG_IN = """
from pathlib import Path
from search_space.plugins import load_plugin
Path("org.py").write_text("def write(table, stream): ...\\nPLUGINS = {'exporter': {'org': write}}")
load_plugin(Path("org.py"))
done = threading.Event()
"""
WITH_TORCH = "import torch; done = threading.Event()"
WITH_A_THREAD_OF_A_LIBRARY = """
import ctypes
libc = ctypes.CDLL(None)
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, ctypes.cast(libc.sleep, ctypes.c_void_p), ctypes.c_void_p(99))
done = threading.Event()
"""

INTERRUPTED = """
import os, signal, time
from runners.engines.forkserver.start import spawned_forkserver
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a script, Python is to ignore it
try:
    with spawned_forkserver("classification") as address:
        print("started", flush=True)
        while True:  # a signal that comes just before a sleep does not end it
            time.sleep(0.1)
except KeyboardInterrupt:
    print("interrupted")
print(not os.path.exists(address))
"""
SPAWNED = """
from runners.engines.forkserver.start import spawned_forkserver
with spawned_forkserver("classification") as address:
    print(len(address) < 107)
"""
REFUSED = """
from search_space import SpecError
try:
    with start.node_forkserver("classification"):
        pass
except SpecError as err:
    print(str(err).replace("\\n", " "))
"""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only there the command line is forked")


def environment(**variables):
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}


def run(code, folder):
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_a_task_imports_on_use_is_preloaded_for_its_trials():
    assert "runners.engines.ray.trial_process" in preload("a task of a plug-in")
    assert "runners.tasks.metrics.text" in preload("classification", "text", "text")
    assert len(preload("text", "text")) == len(preload("text"))
    assert "runners.tasks.metrics.text" not in preload("classification")


def test_a_trial_has_the_surroundings_of_its_worker_and_nothing_of_the_forkserver(tmp_path, monkeypatch):
    address = str(tmp_path / "s")
    command = [sys.executable, "-c", SURROUNDINGS, address, "an argument of the forkserver"]
    with subprocess.Popen(
        command, env=environment(OF_THE_FORKSERVER="1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout.readline() == "\n"
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", ["first", *sys.path])
        given = {"OF_THE_WORKER": "2", "CUDA_VISIBLE_DEVICES": "3", "ARCHSWEEP_FORKSERVER": address}
        trial = ForkedProcess(address, trial_request({"trial": "t"}, given))
        job, found, directory, path, arguments, is_the_server = trial.connection.recv()
        trial.close()
        server.kill()
    assert job == {"trial": "t"}
    assert (found.pop("OF_THE_WORKER"), found.pop("CUDA_VISIBLE_DEVICES")) == ("2", "3")
    assert set(found) == {
        *("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"),
        *("OMP_WAIT_POLICY", "CUDA_DEVICE_ORDER"),
    }
    assert (directory, path, arguments, is_the_server) == (str(tmp_path), sys.path, [], False)


@on_linux
def test_a_fresh_process_is_forked_once_it_has_imported_what_trials_need(tmp_path):
    *found, open_files, ended, children = run(FORKED, tmp_path)
    assert found == [
        "True False 448",  # 0o700
        "True",
        "failure ValidationError 0",
        "asw-forkserver 1",  # one thread
    ]
    # Nothing of the driver: `tee` would wait for a pipe to end, the next driver for a lock.
    assert re.fullmatch(r"\['/dev/null', '/tmp/asw-forks-[^']+', 'anon_inode', 'pipe', 'socket'\]", open_files)
    assert (ended, children) == ("False False", "no child")


@pytest.mark.parametrize(
    "made",
    [WITH_A_THREAD, WITH_A_THREAD_OF_A_LIBRARY, WITH_A_PLUG_IN, pytest.param(WITH_TORCH, marks=pytest.mark.slow)],
    ids=["thread", "thread of a library", "plug-in", "torch"],
)
def test_a_process_that_has_begun_something_is_not_forked(tmp_path, made):
    assert run(NOT_FRESH.format(made=made), tmp_path) == ["None False"]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="sends Ctrl-C")
def test_ctrl_c_does_not_reach_one_that_is_starting(tmp_path):
    """A terminal sends it to every process. The driver ends the forkserver, which prints no traceback of its own."""
    (tmp_path / "driver.py").write_text(INTERRUPTED)
    started = subprocess.Popen(
        [sys.executable, "driver.py"], env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert started.stdout.readline() == "started\n"
    os.killpg(started.pid, signal.SIGINT)
    out, errors = started.communicate(timeout=100)
    assert (out, errors, started.returncode) == ("interrupted\nTrue\n", "", 0)


def test_a_path_for_temporary_files_that_is_long_or_cannot_be_used_does_not_matter(tmp_path):
    """A socket's path has at most 107 characters."""
    far = tmp_path / ("d" * 120) / "missing"
    found = run(f"import tempfile; tempfile.tempdir = {str(far)!r}\n{SPAWNED}", tmp_path)
    assert found == ["True"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ("from pathlib import Path; start.SHORT_DIRECTORY = Path('missing')", "No such file or directory"),
        ("import socket; del socket.AF_UNIX", "this system has no Unix sockets"),
    ],
    ids=["no folder", "no such sockets"],
)
def test_where_no_socket_can_be_made_there_is_a_message(tmp_path, made, reason):
    code = f"import runners.engines.forkserver.start as start\n{made}\n{REFUSED}"
    (line, *_), hint = run(code, tmp_path), "--engine in-process trains without workers, one trial after the other"
    assert line.startswith("--engine ray: no socket can be made in ")
    assert reason in line
    assert hint in line
