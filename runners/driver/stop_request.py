"""Orderly stop on SIGTERM, Ctrl-C and a lost terminal: running trials save checkpoints and end.

The same command resumes. A cluster that reclaims its machines sends SIGTERM and waits before it kills. After the first
signal the driver starts no further trial and asks the running ones to stop; after a second one, or when the grace
period is over, it ends at once. Workers run in other processes and on other hosts, so the request is a file in the run
directory, which they poll. A file left by a killed driver carries the name of that driver's session, and later drivers
ignore it.
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
"""Seconds at most: after Ctrl-C a user is waiting."""
_LAST_RESORT_SECONDS = 10.0


class StopRequest:
    """Stop request of this session.

    Args:
        grace_seconds: how long running trials may take to save themselves.
        say: gets one line for the user, in a separate thread.

    Attributes:
        signal: the first signal received; None before.
        file: exists from then on; workers poll it.
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
        """Handle signals as stop requests inside; KeyboardInterrupt is raised after the grace period.

        Only the main thread can do so: elsewhere signals keep their meaning.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        for left in self._run_dir.stop_requests():
            left.unlink(missing_ok=True)
        before = {number: signal.signal(number, self._ask) for number in _stop_signals()}
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
            self.file.touch(exist_ok=False)  # so that a link of this name is not followed
        except OSError:  # workers cannot be asked
            raise KeyboardInterrupt from None
        main = threading.main_thread().ident
        assert main is not None
        self._after(seconds, lambda: signal.pthread_kill(main, number))
        # A library that has lost its cluster may block in the main thread and receive no signal. The ledger is whole.
        self._after(seconds + _LAST_RESORT_SECONDS, lambda: os._exit(128 + number))
        # Not in the signal handler: it may have interrupted the very code that prints, or an import of it.
        text = f"stopping: running trials save checkpoints, {seconds:g} s at most; repeat to stop at once"
        self._sayer = threading.Thread(target=self._say, args=(text,), daemon=True)
        self._sayer.start()


def _stop_signals() -> list[signal.Signals]:
    """Signals that request a stop.

    SIGHUP (a closed terminal, a lost ssh) stays ignored after `nohup`. SIGINT is ignored in background jobs of a
    script, where `kill -INT` must work nevertheless.
    """
    after_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if after_nohup else [signal.SIGHUP])]
