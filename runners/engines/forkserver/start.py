"""Start of a forkserver: as a fork of the command line, or as a process of its own.

Its socket is named in the environment, where the workers of a private cluster find it. Workers of another cluster, and
those whose forkserver was killed, start one for themselves.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from archsweep.own_packages import child_command
from runners.engines.forkserver.server import DETACH_SECONDS, Forkserver, import_all
from runners.engines.forkserver.trial_target import TRIAL_ENV, VARIABLE, preload, run_forked_trial
from runners.machine.environment import environment_variable
from runners.machine.scratch import SHORT_DIRECTORY, scratch_folder
from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.plugins import loaded_plugins

__all__ = ["forked_forkserver", "node_forkserver", "spawned_forkserver"]

_WAITING_CLIENTS = 512
# Read when libraries are loaded. OpenBLAS would start a thread for every core; trials need none of them.
_WHILE_IMPORTING = {"OMP_WAIT_POLICY": TRIAL_ENV["OMP_WAIT_POLICY"], "OPENBLAS_NUM_THREADS": "1"}
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


@contextmanager
def forked_forkserver(*tasks: str) -> Iterator[None]:
    """A forkserver for private clusters of this process, forked from it once it has imported what trials of these tasks
    need: what the process needs itself to plan them is then imported once, not twice.

    Only a process that has done nothing yet may be forked for that: without torch, Ray, a plug-in, or a thread. For
    another one this does nothing, and `node_forkserver` starts a process.

    Raises:
        SpecError: there is no place for its socket.
    """
    if not _is_fresh():
        yield
        return
    with ExitStack() as variables:
        for name, value in _WHILE_IMPORTING.items():
            variables.enter_context(environment_variable(name, os.environ.get(name, value)))
        import_all(preload(*tasks))
    if not _has_one_thread():  # a library has started one
        yield
        return
    with _listening() as (listener, address):
        owner, owned = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(owned)
            _serve_as_fork(listener, owner)
        os.close(owner)
        listener.close()
        try:
            with environment_variable(VARIABLE, address):
                yield
        finally:
            os.close(owned)
            with suppress(ChildProcessError):  # where SIGCHLD is ignored, its end is waited for all the same
                os.waitpid(pid, 0)


@contextmanager
def node_forkserver(*tasks: str) -> Iterator[None]:
    """The forkserver of this node for a private cluster that is started meanwhile: the one that there is already, or a
    new process."""
    if os.environ.get(VARIABLE):
        yield
        return
    with spawned_forkserver(*tasks) as address, environment_variable(VARIABLE, address):
        yield


@contextmanager
def spawned_forkserver(*tasks: str) -> Iterator[str]:
    """A forkserver for trials of these tasks as a new process, which imports while the caller goes on. It ends with the
    context, or with this process, at most two seconds later. Yields its address.

    Raises:
        SpecError: there is no place for its socket.
    """
    target = f"{run_forked_trial.__module__}:{run_forked_trial.__qualname__}"
    with _listening() as (listener, address):
        owner, owned = os.pipe()
        arguments = f"{listener.fileno()}, {owner}, {target!r}, {preload(*tasks)!r}"
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited, see `main`
        try:
            process = subprocess.Popen(
                child_command(f"from runners.engines.forkserver.server import main; main({arguments})"),
                pass_fds=(listener.fileno(), owner),
                env={**_WHILE_IMPORTING, **os.environ, **TRIAL_ENV},
                stdin=subprocess.DEVNULL,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(owner)
        listener.close()
        try:
            yield address
        finally:
            os.close(owned)
            try:
                process.wait(DETACH_SECONDS)
            except subprocess.TimeoutExpired:  # it may still be importing
                process.kill()
                process.wait()


def _is_fresh() -> bool:
    """Whether this process can be forked and the fork go on by itself."""
    return _has_one_thread() and not {"torch", "ray"} & sys.modules.keys() and not loaded_plugins()


def _has_one_thread() -> bool:
    """Whether this one is the process's only thread, those of libraries counted. False where that is not known."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return False
    with suppress(OSError):
        return len(os.listdir("/proc/self/task")) == 1
    return False


@contextmanager
def _listening() -> Iterator[tuple[socket.socket, str]]:
    """A socket in a folder that is closed to other users, and its path."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder("forks", directory=SHORT_DIRECTORY))
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            address = str(folder / "socket")
            listener.bind(address)
            listener.listen(_WAITING_CLIENTS)
        except (OSError, AttributeError) as err:  # a full or foreign disk; a system without such sockets
            raise _no_socket(err) from err
        yield listener, address


def _no_socket(err: Exception) -> SpecError:
    reason = "this system has no Unix sockets" if isinstance(err, AttributeError) else reason_of(err)
    text = f"no socket can be made in {SHORT_DIRECTORY}, by which workers ask for the processes of trials: {reason}"
    hint = "--engine in-process trains without workers, one trial after the other"
    return SpecError(Problem(text, where="--engine ray", hint=hint))


def _serve_as_fork(listener: socket.socket, owner: int) -> None:
    """The rest of a fork's life. It never returns into what the process that it was forked from is doing."""
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):  # a terminal, or a pipe whose reader waits for its end
            os.dup2(null, number)
        os.close(null)
        _keep_freed_memory()
        Forkserver(listener, owner, run_forked_trial).serve()
    finally:
        os._exit(0)


def _keep_freed_memory() -> None:
    """What the variables of `TRIAL_ENV` ask of the allocator of a process that starts with them."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
    mallopt(_M_TOP_PAD, int(TRIAL_ENV["MALLOC_TOP_PAD_"]))
