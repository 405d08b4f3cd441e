"""A program of the user's own as a group of processes: its output is kept, and the whole group ends with the trial."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from runners.machine.signals import die_with_parent

__all__ = ["CommandFailed", "Program", "running"]

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 14  # of a line that patterns see; progress bars end no line
_LAST_LINES = 20
_PATIENCE_FOR_OUTPUT = 5.0


class CommandFailed(RuntimeError):
    """The program could not be started, or ended with an error."""


class Program:
    """A started program. Its output, stdout and stderr together, goes to the log and line by line to `on_line`."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        log: IO[bytes],
        on_line: Callable[[str], None],
    ) -> None:
        self.argv = list(argv)
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                self.argv,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except OSError as err:
            raise CommandFailed(f"cannot start {self.argv[0]!r}: {err.strerror or err}") from err
        self._log, self._on_line = log, on_line
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._reader = threading.Thread(target=self._read, name="output of the program", daemon=True)
        self._reader.start()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None if it still runs after so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def finish_output(self) -> None:
        """Read what is left of the output; a process that it left behind may hold it open, and is ended then."""
        self._reader.join(_PATIENCE_FOR_OUTPUT)
        if self._reader.is_alive():
            self._signal(signal.SIGKILL)
            self._reader.join(_PATIENCE_FOR_OUTPUT)

    def stop(self, grace: float) -> None:
        """Ask the whole group to end, and end it after the grace period."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            self.wait(grace)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self.finish_output()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        left = ""
        with pipe:
            while chunk := os.read(pipe.fileno(), _CHUNK):
                self._log.write(chunk)
                self._log.flush()
                *lines, left = (left + decode(chunk)).replace("\r", "\n").split("\n")
                left = left[-_LONGEST_LINE:]
                for line in lines:
                    self._see(line[-_LONGEST_LINE:])
        if left:
            self._see(left)

    def _see(self, line: str) -> None:
        if line.strip():
            self.last_lines.append(line)
            self._on_line(line)


@contextmanager
def running(grace: float, *arguments: Any, **options: Any) -> Iterator[Program]:
    """A program that is ended with the block, whatever ends it."""
    program = Program(*arguments, **options)
    try:
        yield program
    finally:
        program.stop(grace)


def await_end(program: Program, tick: Callable[[], None], every: float = 0.2) -> None:
    """Wait for the end of a program, calling `tick` meanwhile.

    Raises:
        CommandFailed: it ended with an error; the message has its last lines.
    """
    began = time.monotonic()
    while (code := program.wait(every if time.monotonic() - began > 1 else 0.02)) is None:
        tick()
    program.finish_output()
    tick()
    if code == 0:
        return
    if code < 0:
        with contextlib.suppress(ValueError):
            how = f"was ended by {signal.Signals(-code).name}"
            raise CommandFailed(_with_lines(f"{program.argv[0]!r} {how}", program))
    raise CommandFailed(_with_lines(f"{program.argv[0]!r} ended with exit code {code}", program))


def _with_lines(text: str, program: Program) -> str:
    """The last line first, which is all that a view of one line shows."""
    lines = [line for line in program.last_lines if line.strip()]
    if not lines:
        return f"{text}, without a word"
    said = f"{text}: {lines[-1].strip()}"
    return said if len(lines) == 1 else f"{said}\nits last lines:\n" + "\n".join(lines)
