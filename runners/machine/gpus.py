"""The GPUs of this machine as `nvidia-smi` shows them: memory, utilisation, driver.

Asked for, not looked up through torch: that would open a CUDA context on every GPU, hundreds of MiB that trials were
promised. `nvidia-smi` comes with every driver, so it needs no package of its own, and a machine without it has no GPU
to show. It may take seconds to answer, so the live view starts it and reads the answer when it is there.
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
    """One GPU. Memory in MiB, utilisation in percent; None where the GPU does not tell, as one that is split by MIG."""

    index: str
    uuid: str
    name: str
    used_mib: float | None
    total_mib: float | None
    utilisation: float | None
    is_split: bool = False
    driver: str = ""

    def is_called(self, name: str) -> bool:
        """Whether CUDA_VISIBLE_DEVICES means this GPU by that name: its number, or the beginning of its id."""
        return name == self.index or (name.startswith("GPU-") and self.uuid.startswith(name))


def parse_gpus(text: str) -> tuple[GpuInfo, ...]:
    """The GPUs in what `nvidia-smi --query-gpu` printed; lines that are no GPU ("No devices were found") are none."""
    found = []
    for line in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(line) == len(_FIELDS) and line[0].isdigit():
            index, uuid, name, used, total, busy, mig, driver = (cell.strip() for cell in line)
            numbers = (_number(used), _number(total), _number(busy))
            found.append(GpuInfo(index, uuid, name, *numbers, mig == "Enabled", driver))
    return tuple(found)


def local_gpus() -> tuple[GpuInfo, ...]:
    """The GPUs of this machine; none where there is no `nvidia-smi` or it fails or takes longer than 5 s."""
    monitor = GpuMonitor()
    monitor.look()
    return monitor.look(patience=_PATIENCE_SECONDS)


class GpuMonitor:
    """Asks again and again without ever making the caller wait."""

    def __init__(self) -> None:
        self._program = shutil.which("nvidia-smi")
        self._asked: subprocess.Popen[str] | None = None
        self._since = -_EVERY_SECONDS
        self._latest: tuple[GpuInfo, ...] = ()

    def look(self, *, patience: float = 0.0) -> tuple[GpuInfo, ...]:
        """The latest answer, two seconds old as a rule; none at first, and none while it takes too long.

        Args:
            patience: seconds to wait for the answer that is under way.
        """
        if self._program is None:
            return ()
        if self._asked is None:
            if time.monotonic() - self._since >= _EVERY_SECONDS:
                self._ask()
            return self._latest
        try:
            # The answer fits into the pipe, so that nobody needs to read while it is written.
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
        """Ends a question that nobody waits for any more; a driver that hangs is not waited for either."""
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
