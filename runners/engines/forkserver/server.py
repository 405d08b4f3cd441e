"""The forkserver of a node: a process with torch loaded that forks a process for every trial, for all of its workers.

Python has one in `multiprocessing.forkserver`. It serves the process that started it and the children of that one, so
every worker of Ray would have to import torch into one of its own. This one serves every process that can connect to
its socket, and does for them what the kernel does for a parent: it passes signals on, says when the process has ended
and with which code, and ends the process when the client is gone. Why: docs/decisions/0027-one-forkserver-a-node.md.

A client connects once for every process. It sends one byte with three descriptors: the process's end of a pipe, its
stdout and its stderr. From then on every byte that it sends is a signal for the process. It receives an `ANSWER`.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib
import multiprocessing
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from runners.machine.signals import die_with_parent

__all__ = ["ANSWER", "DETACH_SECONDS", "NUM_DESCRIPTORS", "PROCESS_NAME", "TRIAL_NAME", "Forkserver", "main"]

ANSWER = struct.Struct("=ii")
"""The exit code, of a signal its negative number, as in `multiprocessing`; and 0, or the `errno` by which the system
refused the process, which never ran then."""
NUM_DESCRIPTORS = 3
PROCESS_NAME, TRIAL_NAME = "asw-forkserver", "asw-trial"
"""Names in `ps -o comm` and `top`: a fork has the command line of the process that it was forked from."""

_PAUSE_SECONDS = 0.1
_PR_SET_NAME = 15
DETACH_SECONDS = 2.0
"""How long a process without a client has to detach itself, and a forkserver without an owner to see to that."""


@dataclass
class _Served:
    """A process and its client.

    Attributes:
        may_outlive: it was asked to save itself, and ends by itself after that (see `listen_to_sigterm`).
        ends_at: when it is killed, because its client is gone.
    """

    client: socket.socket
    process: BaseProcess
    may_outlive: bool = False
    ends_at: float | None = None


class Forkserver:
    """Serves from `serve` until its owner has ended; the process is the forkserver's alone from its making on.

    A cluster that reclaims its machines sends SIGTERM to every process at once. Trials take it as the request to save a
    checkpoint. The forkserver stays, and from then on lets trials outlive their workers, which may die of the signal.

    Args:
        listener: a listening Unix socket.
        owner: read end of a pipe, whose other end the owner holds as long as it lives.
        target: what a forked process does; it gets its end of the pipe.
    """

    def __init__(self, listener: socket.socket, owner: int, target: Callable[[Connection], None]) -> None:
        self._listener, self._owner, self._target = listener, owner, target
        self._asked: set[socket.socket] = set()  # connected, but no descriptors yet
        self._served: list[_Served] = []
        self._is_reclaimed = False
        self._closes_at: float | None = None
        self._wakes, wakened = os.pipe()
        for end in (self._wakes, wakened):
            os.set_blocking(end, False)
        self._woken = wakened
        self._selector = selectors.DefaultSelector()
        for each in (listener, owner, self._wakes):
            self._selector.register(each, selectors.EVENT_READ)
        handlers = {signal.SIGTERM: self._reclaim, signal.SIGCHLD: lambda *of: None}
        handlers |= {signal.SIGINT: signal.SIG_IGN, signal.SIGHUP: signal.SIG_IGN}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        # Of the terminal's signals a trial has what the owner has: `nohup` ignores one.
        self._handlers_of_trials = {**dict.fromkeys(handlers, signal.SIG_DFL), signal.SIGHUP: before[signal.SIGHUP]}
        signal.set_wakeup_fd(wakened)
        _name_process(PROCESS_NAME)

    def serve(self) -> None:
        """Fork processes for clients. Returns when the owner has ended, at most two seconds later."""
        # What is imported by now belongs to no collection: its pages stay shared between the trials.
        gc.freeze()
        gc.enable()
        while self._closes_at is None or (self._served and time.monotonic() < self._closes_at):
            for key, _ in self._selector.select(self._seconds_to_wait()):
                self._on_readable(key.fileobj)
            self._reap()
            self._end_abandoned()

    def _on_readable(self, source: object) -> None:
        if source is self._listener:
            try:
                client = self._listener.accept()[0]
            except OSError:  # no descriptor is free, until a process ends
                time.sleep(_PAUSE_SECONDS)
                return
            self._asked.add(client)
            self._selector.register(client, selectors.EVENT_READ)
        elif source == self._owner:
            self._selector.unregister(self._owner)
            self._selector.unregister(self._listener)
            # Trials detach themselves where a signal has ended the owner; the others end with this process.
            self._closes_at = time.monotonic() + DETACH_SECONDS
        elif source == self._wakes:
            os.read(self._wakes, 4096)
        elif source in self._asked:
            assert isinstance(source, socket.socket)
            self._asked.discard(source)
            self._fork(source)
        else:
            self._pass_on(next(each for each in self._served if each.client is source))

    def _fork(self, client: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            _, descriptors, *_ = socket.recv_fds(client, 1, NUM_DESCRIPTORS)
            if len(descriptors) != NUM_DESCRIPTORS:  # it has hung up, or this process may open no more
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self._served.append(_Served(client, self._forked(client, descriptors)))
        except OSError as err:  # also of a fork: too many processes, no memory
            with suppress(OSError):
                client.sendall(ANSWER.pack(0, err.errno or errno.EAGAIN))
            self._hang_up(client)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _forked(self, client: socket.socket, descriptors: list[int]) -> BaseProcess:
        fork = multiprocessing.get_context("fork")
        arguments = (client, os.getpid(), *descriptors)
        process = fork.Process(target=self._become_trial, args=arguments, daemon=False)
        # A SIGTERM that comes while the process is made is the process's own, and waits until it has its own handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return process

    def _become_trial(self, client: socket.socket, parent: int, pipe: int, out: int, error: int) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers_of_trials.items():
            signal.signal(number, handler)
        die_with_parent()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        if os.getppid() != parent:  # it was killed before that
            os._exit(1)
        # The process that holds the other end of one of these waits for its end.
        self._selector.close()
        for each in (client, self._listener, *self._asked, *(served.client for served in self._served)):
            each.close()
        for each in (self._owner, self._wakes, self._woken):
            os.close(each)
        _name_process(TRIAL_NAME)
        for descriptor, number in ((out, 1), (error, 2)):
            os.dup2(descriptor, number)
            os.close(descriptor)
        self._target(Connection(pipe))

    def _pass_on(self, served: _Served) -> None:
        """Send the signals that a client asks for."""
        try:
            asked = served.client.recv(64)
        except OSError:
            asked = b""
        if not asked:
            self._selector.unregister(served.client)
            served.ends_at = time.monotonic() + DETACH_SECONDS
        for number in asked:
            served.may_outlive |= number == signal.SIGTERM
            if served.process.exitcode is None:  # else its number may be that of another process
                assert served.process.pid is not None
                os.kill(served.process.pid, number)

    def _reap(self) -> None:
        for served in [each for each in self._served if each.process.exitcode is not None]:
            self._served.remove(served)
            with suppress(OSError):
                served.client.sendall(ANSWER.pack(served.process.exitcode, 0))
            self._hang_up(served.client)
            served.process.close()

    def _end_abandoned(self) -> None:
        """Kill processes whose client has been gone for a while, unless they are saving themselves."""
        for served in self._served:
            if served.ends_at is not None and time.monotonic() >= served.ends_at:
                served.ends_at = None
                if not (served.may_outlive or self._is_reclaimed):
                    served.process.kill()

    def _hang_up(self, client: socket.socket) -> None:
        with suppress(KeyError):  # a client that hung up itself is not listened to any more
            self._selector.unregister(client)
        client.close()

    def _seconds_to_wait(self) -> float | None:
        times = [each.ends_at for each in self._served if each.ends_at is not None]
        times += [] if self._closes_at is None else [self._closes_at]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _reclaim(self, number: int, frame: object) -> None:
        self._is_reclaimed = True


def main(listener: int, owner: int, target: str, modules: Sequence[str]) -> None:
    """Body of a forkserver that is a process of its own: import the modules, then serve, then end.

    It starts with SIGINT blocked: Ctrl-C is the driver's, also before this process ignores it.

    Args:
        listener: descriptor.
        owner: descriptor.
        target: as `MODULE:NAME`.
        modules: one that cannot be imported is left to the trials, which say why.
    """
    module, _, name = target.partition(":")
    server = Forkserver(socket.socket(fileno=listener), owner, getattr(importlib.import_module(module), name))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    import_all(modules)
    server.serve()
    os._exit(0)  # trials that detached themselves go on


def import_all(modules: Sequence[str]) -> None:
    """Import the modules with the cyclic collector switched off, and leave it so: imports make a million objects and no
    rubbish, and it would look through them again and again, a fifth of the time."""
    gc.disable()
    for name in modules:
        with suppress(Exception):  # a trial that imports it again fails with a message
            importlib.import_module(name)


def _name_process(name: str) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
