"""GPUs of this machine as reported by `nvidia-smi`: memory, utilisation, driver.

Names and memory are not queried through torch: that would open a CUDA context on every GPU, hundreds of MiB that are
reserved for trials, and a process that has started CUDA cannot be forked. `nvidia-smi` comes with every driver, so it
needs no package of its own. It may take seconds, so the live view starts it and reads its output when it is complete.
"""

from __future__ import annotations

import csv
import functools
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, replace

__all__ = ["GpuInfo", "GpuMonitor", "local_gpus", "num_gpus_here", "parse_gpus", "parse_instances", "visible_gpus"]

_FIELDS = ("index", "uuid", "name", "memory.used", "memory.total", "utilization.gpu", "mig.mode.current",
           "driver_version")  # fmt: skip
_QUERY = (f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits")
_LIST = ("-L",)
_PATIENCE_SECONDS = 5.0
_LONG_PATIENCE_SECONDS = 30.0  # a driver that was not in use is loaded first, for every GPU
_EVERY_SECONDS = 2.0


@dataclass(frozen=True)
class GpuInfo:
    """One GPU. Memory in MiB, utilisation in percent; None where it is not reported, as for a GPU split by MIG, whose
    `instances` have ids of their own."""

    index: str
    uuid: str
    name: str
    used_mib: float | None
    total_mib: float | None
    utilisation: float | None
    is_split: bool = False
    driver: str = ""
    instances: tuple[str, ...] = ()

    def is_called(self, name: str) -> bool:
        """Whether `name` in CUDA_VISIBLE_DEVICES denotes this GPU or an instance of it: its number, a prefix of its
        UUID, the id of an instance, or what drivers before version 470 called one, MIG-<UUID of the GPU>/<numbers>."""
        if name.startswith("MIG-"):
            return name in self.instances or name.startswith(f"MIG-{self.uuid}/")
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


def parse_instances(text: str) -> dict[str, tuple[str, ...]]:
    """UUID of each GPU in the output of `nvidia-smi -L` -> ids of the instances into which MIG splits it."""
    found: dict[str, list[str]] = {}
    latest: list[str] = []
    for uuid in re.findall(r"\(UUID: ([^)\s]+)\)", text):
        if uuid.startswith("MIG-"):
            latest.append(uuid)
        else:
            latest = found.setdefault(uuid, [])
    return {uuid: tuple(ids) for uuid, ids in found.items()}


def local_gpus(*, patience: float = _PATIENCE_SECONDS) -> tuple[GpuInfo, ...]:
    """GPUs of this machine; none where `nvidia-smi` is missing, fails or takes longer than `patience` seconds."""
    monitor = GpuMonitor()
    monitor.look()
    found = monitor.look(patience=patience)
    # Instances are listed by a second query.
    return monitor.look(patience=patience) if any(gpu.is_split for gpu in found) else found


def visible_gpus() -> tuple[GpuInfo, ...]:
    """The GPU behind each device that CUDA_VISIBLE_DEVICES leaves to trials, where `nvidia-smi` knows them; a GPU split
    by MIG once for each of its instances that are named. Queried once per process."""
    program = shutil.which("nvidia-smi")
    found = () if program is None else _gpus_by(program)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found
    chosen = []
    for name in visible.split(","):
        gpu = next((gpu for gpu in found if gpu.is_called(name.strip())), None)
        if gpu is None:  # CUDA ignores the first name that it does not know, and all after it
            break
        chosen.append(gpu)
    return tuple(chosen)


def num_gpus_here() -> int:
    """GPUs of this machine that trials may use, without starting CUDA in this process; 0 for a PyTorch without GPUs."""
    # Here, because `watch` shows GPUs without torch, which takes seconds to import.
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return 0
    if torch.version.hip is None and (program := shutil.which("nvidia-smi")) and _gpus_by(program):
        return len(visible_gpus())
    # By NVML, or AMD's SMI library, and only without either by the runtime, which opens no context for it.
    return torch.cuda.device_count()


@functools.cache
def _gpus_by(program: str) -> tuple[GpuInfo, ...]:
    return local_gpus(patience=_LONG_PATIENCE_SECONDS)


class GpuMonitor:
    """Non-blocking, periodic query of `nvidia-smi`."""

    def __init__(self) -> None:
        self._program = shutil.which("nvidia-smi")
        self._asked: subprocess.Popen[str] | None = None
        self._since = -_EVERY_SECONDS
        self._latest: tuple[GpuInfo, ...] = ()
        self._instances: dict[str, tuple[str, ...]] | None = None
        self._is_listing = False

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
        answer = answer if self._asked.returncode == 0 else ""
        self._asked = None
        if self._is_listing:
            self._instances, self._is_listing = parse_instances(answer), False
        else:
            self._latest = parse_gpus(answer)
        if self._instances is None and any(gpu.is_split for gpu in self._latest):
            self._is_listing = True
            self._ask(_LIST)  # once: they cannot change while trials use them
        known = self._instances or {}
        self._latest = tuple(replace(gpu, instances=known.get(gpu.uuid, ())) for gpu in self._latest)
        return self._latest

    def close(self) -> None:
        """Kill a running query, without waiting: a hanging GPU driver could block for long."""
        if self._asked is not None:
            self._asked.kill()
            self._asked = None

    def _ask(self, query: tuple[str, ...] = _QUERY) -> None:
        assert self._program is not None
        self._since = time.monotonic()
        try:
            self._asked = subprocess.Popen(
                [self._program, *query], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
        except OSError:
            self._program = None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None  # [N/A], [Not Supported]
