"""A value that is made from files and made again when they have changed: one at a time, in a thread of its own.

A request that arrives meanwhile is given the previous value. So a page is answered at once however long a table takes,
and a run that changes all the time does not keep the machine busy: after each making the next one waits for a multiple
of the time that it took.
"""

from __future__ import annotations

import itertools
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from search_space.parsing.errors import Problem, SpecError

__all__ = ["Remade", "Seen", "Workers"]

_SHARE = 0.25  # upper bound of the share of time spent on one value
_Value = TypeVar("_Value")
_COUNT = itertools.count(1)


class Workers:
    """A few threads that call what they are given, in turn. They are daemons: a table that is being made must not keep
    the program from ending."""

    def __init__(self, num: int) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._num = num
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def submit(self, call: Callable[[], None]) -> None:
        """Call it later, which must not raise."""
        with self._lock:
            if len(self._threads) < self._num:
                thread = threading.Thread(target=self._work, daemon=True)
                self._threads.append(thread)
                thread.start()
        self._waiting.put(call)

    def _work(self) -> None:
        while True:
            self._waiting.get()()


@dataclass(frozen=True)
class Seen(Generic[_Value]):
    """The latest value.

    Attributes:
        value: None before the first one is made, or if that failed.
        version: changes with the value and with `error`; 0 before the first.
        is_current: whether the files are still as the value was made from.
        error: why the latest making failed; `value` is then the previous one.
    """

    value: _Value | None
    version: int
    is_current: bool
    error: SpecError | None = None


class Remade(Generic[_Value]):
    """The value of `make`, which is called again once `stamp` returns something else.

    Args:
        stamp: cheap; equal stamps mean an equal value.
        make: may raise SpecError, which is then part of what is seen; any other error is a fault of ours and is
            printed.
    """

    def __init__(self, stamp: Callable[[], Hashable], make: Callable[[], _Value], workers: Workers) -> None:
        self._stamp, self._make, self._workers = stamp, make, workers
        self._lock = threading.Lock()
        self._made_of: Hashable = object()  # equal to no stamp
        self._value: _Value | None = None
        self._error: SpecError | None = None
        self._version = 0
        self._done: threading.Event | None = None
        self._not_before = 0.0

    def seen(self, wait: float = 0.0) -> Seen[_Value]:
        """The value, after at most `wait` seconds; one that is out of date is made again in the background."""
        stamp = self._stamp()
        with self._lock:
            if stamp != self._made_of and self._done is None and time.monotonic() >= self._not_before:
                self._done = threading.Event()
                self._workers.submit(lambda done=self._done: self._remake(done))
            done = self._done
        if done is not None and wait > 0:
            done.wait(wait)
        with self._lock:
            return Seen(self._value, self._version, self._made_of == stamp, self._error)

    def _remake(self, done: threading.Event) -> None:
        value, error = None, None
        began = time.monotonic()
        stamp = self._stamp()  # before reading: what is written meanwhile makes the value out of date, not wrong
        try:
            value = self._make()
        except SpecError as err:
            error = err
        except Exception as err:
            traceback.print_exc(file=sys.stderr)
            error = SpecError(Problem(f"archsweep failed here: {type(err).__name__}: {err}", hint="please report it"))
        cost = time.monotonic() - began
        with self._lock:
            self._value = self._value if error else value
            self._error = error
            self._made_of = stamp
            self._version = next(_COUNT)
            self._not_before = time.monotonic() + cost * (1 / _SHARE - 1)
            self._done = None
        done.set()
