"""GPUs of this machine as reported by `nvidia-smi`: memory, utilisation, driver.

Not queried through torch: that would open a CUDA context on every GPU, hundreds of MiB that are reserved for trials.
`nvidia-smi` comes with every driver, so it needs no package of its own, and a machine without it has no GPU to show.
It may take seconds, so the live view starts it and reads its output when it is complete.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import time
from dataclasses import dataclass

__all__ = ["GpuInfo", "GpuMonitor", "local_gpus", "parse_gpus"]

_FIELDS = ("index", "uuid", "name", "memory.used", "memory.total", "utilization.gpu", "mig.mode.current",
           "driver_version")  # fmt: skip
_QUERY = (f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits")
_PATIENCE_SECONDS = 5.0
_EVERY_SECONDS = 2.0


@dataclass(frozen=True)
class GpuInfo:
    """One GPU. Memory in MiB, utilisation in percent; None where it is not reported, as for a GPU split by MIG."""

    index: str
    uuid: str
    name: str
    used_mib: float | None
    total_mib: float | None
    utilisation: float | None
    is_split: bool = False
    driver: str = ""

    def is_called(self, name: str) -> bool:
        """Whether `name` in CUDA_VISIBLE_DEVICES denotes this GPU: its number, or a prefix of its UUID."""
        return name == self.index or (name.startswith("GPU-") and self.uuid.startswith(name))


def parse_gpus(text: str) -> tuple[GpuInfo, ...]:
    """GPUs in the output of `nvidia-smi --query-gpu`; other lines ("No devices were found") are skipped."""
    found = []
    for line in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(line) == len(_FIELDS) and line[0].isdigit():
            index, uuid, name, used, total, busy, mig, driver = (cell.strip() for cell in line)
            numbers = (_number(used), _number(total), _number(busy))
            found.append(GpuInfo(index, uuid, name, *numbers, mig == "Enabled", driver))
    return tuple(found)


def local_gpus() -> tuple[GpuInfo, ...]:
    """GPUs of this machine; none where `nvidia-smi` is missing, fails or takes longer than 5 s."""
    monitor = GpuMonitor()
    monitor.look()
    return monitor.look(patience=_PATIENCE_SECONDS)


class GpuMonitor:
    """Non-blocking, periodic query of `nvidia-smi`."""

    def __init__(self) -> None:
        self._program = shutil.which("nvidia-smi")
        self._asked: subprocess.Popen[str] | None = None
        self._since = -_EVERY_SECONDS
        self._latest: tuple[GpuInfo, ...] = ()

    def look(self, *, patience: float = 0.0) -> tuple[GpuInfo, ...]:
        """Latest result, usually up to two seconds old; empty at first, and while a query takes too long.

        Args:
            patience: seconds to wait for a query that is running.
        """
        if self._program is None:
            return ()
        if self._asked is None:
            if time.monotonic() - self._since >= _EVERY_SECONDS:
                self._ask()
            return self._latest
        try:
            # The output fits into the pipe buffer, so it need not be read while it is written.
            self._asked.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            if time.monotonic() - self._since > _PATIENCE_SECONDS:
                self._latest = ()
            return self._latest
        answer, _ = self._asked.communicate()
        self._latest = parse_gpus(answer) if self._asked.returncode == 0 else ()
        self._asked = None
        return self._latest

    def close(self) -> None:
        """Kill a running query, without waiting: a hanging GPU driver could block for long."""
        if self._asked is not None:
            self._asked.kill()
            self._asked = None

    def _ask(self) -> None:
        assert self._program is not None
        self._since = time.monotonic()
        try:
            self._asked = subprocess.Popen(
                [self._program, *_QUERY], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
        except OSError:
            self._program = None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None  # [N/A], [Not Supported]
