"""SIGTERM, Ctrl-C and a lost terminal are wishes: running trials save themselves and end; the same command goes on.

A cluster that takes its machines back sends SIGTERM and waits a while before it kills. Asked once, the driver starts
no further trial and tells the running ones; asked again, or once the time of grace is over, it ends at once. Workers
sit in other processes and on other hosts, so they are told by a file in the run directory, which they look for while
they wait. A file left by a killed driver bears the name of that driver's session and means nothing to later ones.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from results.store.run_layout import RunDir

__all__ = ["StopRequest"]

_CTRL_C_GRACE = 5.0
"""Seconds at most: who presses Ctrl-C sits there and waits."""
_LAST_RESORT_SECONDS = 10.0


class StopRequest:
    """Whether this session was told to stop.

    Args:
        grace_seconds: how long running trials may take to save themselves.
        say: gets one line for the person who waits, in a thread of its own.

    Attributes:
        signal: the first signal that asked; None before.
        file: exists from then on, for workers.
    """

    def __init__(
        self, run_dir: RunDir, *, session: str, grace_seconds: float, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.signal: int | None = None
        self.file = run_dir.stop_request(session)
        self._run_dir = run_dir
        self._grace_seconds = grace_seconds
        self._say = say
        self._timers: list[threading.Timer] = []
        self._sayer: threading.Thread | None = None

    @property
    def is_asked(self) -> bool:
        return self.signal is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, signals are wishes; KeyboardInterrupt is raised when the patience is over. Only the main thread can
        listen: elsewhere signals keep their meaning."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        for left in self._run_dir.stop_requests():
            left.unlink(missing_ok=True)
        before = {number: signal.signal(number, self._ask) for number in _heard()}
        try:
            yield
        finally:
            for timer in self._timers:
                timer.cancel()
            if self._sayer is not None:
                self._sayer.join(timeout=1.0)
            for number, handler in before.items():
                signal.signal(number, handler)
            self.file.unlink(missing_ok=True)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _ask(self, number: int, frame: object) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        seconds = min(self._grace_seconds, _CTRL_C_GRACE) if number == signal.SIGINT else self._grace_seconds
        try:
            self.file.touch()
        except OSError:  # workers cannot be told
            raise KeyboardInterrupt from None
        main = threading.main_thread().ident
        assert main is not None
        self._after(seconds, lambda: signal.pthread_kill(main, number))
        # A library that has lost its cluster may wait for it in the main thread, deaf to signals. The ledger is whole.
        self._after(seconds + _LAST_RESORT_SECONDS, lambda: os._exit(128 + number))
        # Not here: whatever prints may be what was interrupted, in the middle of it, even of an import.
        text = f"told to stop: running trials save themselves, for {seconds:g} s at most; again: at once"
        self._sayer = threading.Thread(target=self._say, args=(text,), daemon=True)
        self._sayer.start()


def _heard() -> list[signal.Signals]:
    """SIGHUP is that of a closed terminal or a lost ssh; after `nohup` it is ignored, and stays so. SIGINT is ignored
    in what a script starts in the background, where `kill -INT` must work all the same."""
    after_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if after_nohup else [signal.SIGHUP])]
