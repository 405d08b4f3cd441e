"""Processes of a forkserver belong to the client that asked for them, as if they were its children."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runners.engines.forkserver.client import ForkedProcess
from runners.engines.forkserver.server import ANSWER

ROOT = Path(__file__).parents[3]
# A forkserver whose processes do what the first message says, of which each line is executed.
SERVER = """
import os, signal, socket, sys, time
from runners.engines.forkserver.server import Forkserver
from runners.machine.signals import listen_to_sigterm

def target(connection):
    exec(connection.recv())

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
server = Forkserver(listener, os.dup(0), target)
print("ready", flush=True)
server.serve()
os._exit(0)
"""
SLEEPS = "connection.send(os.getpid()); time.sleep(600)"
SAVES_ITSELF = f"listen_to_sigterm(600); {SLEEPS}"

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


def is_alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "that never happened"
        time.sleep(0.02)


def wait_for_end(pid):
    wait_until(lambda: not is_alive(pid))


def limit_descriptors(pid, *, free):
    """Leaves a process so many descriptors to open; returns its hard limit."""
    first = min(set(range(1000)) - {int(name) for name in os.listdir(f"/proc/{pid}/fd")})
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (first + free, hard))
    return hard


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def server(tmp_path):
    """A forkserver, whose owner is the process that holds its stdin."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "s")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    with process:
        yield process
        process.kill()


@pytest.fixture
def fork(server, tmp_path):
    """Asks for a process that executes a line of code."""
    with contextlib.ExitStack() as asked_for:

        def fork_(code):
            process = ForkedProcess(str(tmp_path / "s"), code)
            asked_for.callback(process.close)
            return process

        yield fork_


@pytest.mark.parametrize(
    ("code", "expected"),
    [("pass", 0), ("sys.exit(3)", 3), ("raise ValueError", 1), ("os.kill(os.getpid(), signal.SIGSEGV)", -11)],
)
def test_the_exit_code_is_reported(fork, code, expected):
    process = fork(code)
    assert process.exit_code() == expected
    assert process.exit_code() == expected
    assert not process.is_lost
    with pytest.raises((EOFError, OSError)):
        process.connection.recv()


def test_it_is_forked_with_the_collector_on_and_without_what_was_imported(fork):
    process = fork("import gc; connection.send((gc.isenabled(), gc.get_freeze_count() > 1000))")
    assert process.connection.recv() == (True, True)


def test_messages_go_both_ways_while_others_run(fork):
    first, second = (fork("connection.send(connection.recv() + 1); sys.exit(connection.recv())") for _ in range(2))
    assert first.exit_code(timeout=0.01) is None
    for number, process in ((20, second), (10, first)):
        process.connection.send(number)
        assert process.connection.recv() == number + 1
    first.connection.send(4)
    assert first.exit_code() == 4
    second.connection.send(5)
    assert second.exit_code() == 5


def test_it_prints_where_its_client_does(fork, capfd):
    assert fork("print('out', flush=True); os.write(2, b'error')").exit_code() == 0
    assert capfd.readouterr() == ("out\n", "error")


def test_signals_reach_the_process_and_no_other(fork):
    processes = [fork(SLEEPS) for _ in range(3)]
    for process in processes:
        process.connection.recv()
    processes[0].terminate()
    assert processes[0].exit_code() == -signal.SIGTERM
    processes[1].kill()
    assert processes[1].exit_code() == -signal.SIGKILL
    processes[0].kill()  # of one that has ended: nothing
    assert processes[2].exit_code(timeout=0.1) is None


def test_the_end_of_one_is_seen_while_its_neighbours_go_on(fork):
    """They were forked while its connections were open, and hold none of them."""
    processes = [fork("connection.send(None); connection.recv()") for _ in range(3)]
    for process in processes:
        process.connection.recv()
    processes[0].kill()
    with pytest.raises((EOFError, OSError)):
        processes[0].connection.recv()
    processes[1].close()
    assert processes[2].exit_code(timeout=0.1) is None


def test_it_ends_with_its_client_and_its_neighbours_go_on(fork):
    process, neighbour = fork(SLEEPS), fork(SLEEPS)
    pid, _ = process.connection.recv(), neighbour.connection.recv()
    process.close()
    wait_for_end(pid)
    assert neighbour.exit_code(timeout=0.1) is None


def test_a_stopped_process_ends_with_its_client(fork):
    process = fork(SLEEPS)
    pid = process.connection.recv()
    os.kill(pid, signal.SIGSTOP)
    process.close()
    wait_for_end(pid)


def test_one_that_was_asked_to_save_itself_may_take_its_time(fork):
    process, neighbour = fork(SAVES_ITSELF), fork(SLEEPS)
    pid, other = process.connection.recv(), neighbour.connection.recv()
    process.terminate()
    process.close()
    neighbour.close()
    wait_for_end(other)  # later than the first one, if that was ended as well
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_where_every_process_is_asked_to_end_trials_go_on_without_their_workers(fork, server):
    process = fork(SAVES_ITSELF)
    pid = process.connection.recv()
    server.send_signal(signal.SIGTERM)
    process.close()
    late = fork("pass")  # the forkserver itself stays
    assert late.exit_code() == 0
    time.sleep(2.5)  # until after the moment of its end
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_with_its_owner_it_ends_and_what_was_not_asked_to_save_itself(fork, server):
    ended, saves = fork(SLEEPS), fork(SAVES_ITSELF)
    pid, saving = ended.connection.recv(), saves.connection.recv()
    saves.terminate()
    server.stdin.close()
    assert server.wait(timeout=60) == 0
    wait_for_end(pid)
    assert is_alive(saving)
    os.kill(saving, signal.SIGKILL)
    assert ended.exit_code() is None
    assert ended.is_lost


def test_without_processes_it_ends_with_its_owner_at_once(server):
    server.stdin.close()
    began = time.monotonic()
    assert server.wait(timeout=60) == 0
    assert time.monotonic() - began < 1.5


def test_a_killed_forkserver_takes_its_processes_with_it(fork, server):
    process = fork(SLEEPS)
    pid = process.connection.recv()
    server.kill()
    wait_for_end(pid)
    assert process.exit_code() is None
    assert process.is_lost
    with pytest.raises(ConnectionRefusedError):
        fork("pass")


def test_a_process_that_the_system_refuses_is_no_lost_one(fork, server):
    """Limits on processes and on descriptors are those of containers and of shared machines."""
    assert fork("pass").exit_code() == 0
    hard = limit_descriptors(server.pid, free=4)  # a connection and what comes with it, but no pipe for the fork
    process = fork("pass")
    assert (process.exit_code(), process.refusal, process.is_lost) == (None, "Too many open files", False)
    with pytest.raises((EOFError, OSError)):
        process.connection.recv()
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert fork("sys.exit(7)").exit_code() == 7


def test_clients_wait_where_no_descriptor_is_free(fork, server):
    running = fork("connection.send(None); connection.recv()")
    running.connection.recv()
    hard = limit_descriptors(server.pid, free=0)
    waiting = fork("sys.exit(7)")
    assert waiting.exit_code(timeout=0.5) is None
    began = cpu_seconds(server.pid)
    assert waiting.exit_code(timeout=0.5) is None
    assert cpu_seconds(server.pid) - began < 0.2
    assert not waiting.is_lost
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert waiting.exit_code() == 7


def test_a_signal_in_the_moment_of_the_fork_is_not_lost(fork):
    for _ in range(40):
        process = fork(SLEEPS)
        process.terminate()
        assert process.exit_code(timeout=20) == -signal.SIGTERM


def test_two_hundred_processes_leave_no_descriptor_and_no_zombie(fork, server):
    def held():
        return len(os.listdir(f"/proc/{server.pid}/fd")), len(os.listdir("/proc/self/fd")), children_of(server.pid)

    before = held()
    for number in range(200):
        process = fork("sys.exit(connection.recv())")
        process.connection.send(number % 100)
        assert process.exit_code() == number % 100
        process.close()
    wait_until(lambda: held() == before)


def test_a_client_that_hangs_up_at_once_disturbs_no_other(fork, tmp_path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        client.send(b"\0")  # no descriptors
        assert client.recv(9) == ANSWER.pack(0, errno.EMFILE)
        assert client.recv(9) == b""
    assert fork("sys.exit(7)").exit_code() == 7
