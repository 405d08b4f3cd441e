"""Checks of the machine's resources for trials: CPUs, threads, memory, shared memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runners.doctor.finding import GIB, Finding, Request, gib
from runners.machine.cgroups import Limits, local_limits

__all__ = [
    "CpuFacts",
    "check_cpus",
    "check_memory",
    "check_shared_memory",
    "check_threads",
    "judge_cpus",
    "judge_memory",
    "judge_shared_memory",
    "judge_threads",
]

_OBJECT_STORE = 0.2 * GIB  # the object store of a private cluster
_LOADERS = 1 * GIB
_BINDINGS = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND")


@dataclass(frozen=True)
class CpuFacts:
    """CPUs of the machine, those this process may run on, and how many the control group grants."""

    total: int
    allowed: int
    quota: float | None = None

    @property
    def usable(self) -> float:
        """How many can be busy at a time."""
        return min(self.allowed, self.quota or self.allowed)


def check_cpus(request: Request) -> Finding:
    return judge_cpus(_cpus(local_limits()))


def judge_cpus(facts: CpuFacts) -> Finding:
    """Judge the CPU count: Ray counts the CPUs that this process may run on, but not the CPU quota of a container."""
    if facts.quota is not None and facts.quota < facts.allowed:
        text = f"{facts.allowed} CPUs are visible, the control group grants {facts.quota:g}"
        remedy = f"--set resources.max_concurrent={max(1, int(facts.quota))}, or trials wait for each other"
        return Finding("cpus", "warning", text, remedy)
    hidden = f" of {facts.total}" if facts.total != facts.allowed else ""
    return Finding("cpus", "ok", f"{facts.allowed}{hidden}")


def check_threads(request: Request) -> Finding:
    return judge_threads(os.environ, request.cpus_per_trial)


def judge_threads(environment: Mapping[str, str], cpus_per_trial: float) -> Finding:
    """Judge the threads: trials set torch's number of threads, `resources.cpus`; other libraries read variables."""
    per_trial = max(1, int(cpus_per_trial))
    bound = [name for name in _BINDINGS if environment.get(name, "").lower() not in ("", "false", "disabled")]
    if bound:
        text = (
            f"{', '.join(f'{name}={environment[name]}' for name in bound)}: every trial may be bound to the same CPUs"
        )
        return Finding("threads", "warning", text, f"unset {' '.join(bound)}")
    threads = environment.get("OMP_NUM_THREADS", "")
    if not threads:
        return Finding("threads", "ok", f"{per_trial} per trial")
    if not threads.isdigit() or int(threads) > per_trial:
        text = f"OMP_NUM_THREADS={threads}, but a trial has {per_trial} CPU{'s' if per_trial > 1 else ''}"
        return Finding("threads", "warning", text, f"unset it, or export OMP_NUM_THREADS={per_trial}")
    return Finding("threads", "ok", f"{per_trial} per trial, OMP_NUM_THREADS={threads}")


def check_memory(request: Request) -> Finding:
    limits = local_limits()
    return judge_memory(_available(), limits, _cpus(limits).usable)


def judge_memory(available: float | None, limits: Limits, cpus: float) -> Finding:
    """Judge the memory: `available` bytes by the system; the control group may grant less."""
    found = [number for number in (available, limits.memory_left) if number is not None]
    if not found:
        return Finding("memory", "ok", "not reported by this system")
    left = min(found)
    text = f"{gib(left)} available"
    if limits.memory is not None and left != available:
        text += f" of the {gib(limits.memory)} that the control group grants"
    if left < 2 * GIB:
        return Finding("memory", "warning", text, "a worker with torch takes about 0.7 GiB: fewer trials at a time")
    if left < cpus * GIB:
        remedy = f"with {cpus:g} CPUs, --set resources.max_concurrent={max(1, int(left / GIB))}"
        return Finding("memory", "warning", text, remedy)
    return Finding("memory", "ok", text)


def check_shared_memory(request: Request) -> Finding:
    path = Path("/dev/shm")
    if not path.is_dir():
        return judge_shared_memory(None, None)
    space = os.statvfs(path)
    return judge_shared_memory(space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize)


def judge_shared_memory(free: float | None, total: float | None) -> Finding:
    """Judge /dev/shm: Ray keeps objects there, and data-loading processes hand over their batches."""
    if free is None or total is None:
        return Finding("/dev/shm", "ok", "not used on this system")
    text = f"{gib(free)} of {gib(total)} free"
    remedy = "docker run --shm-size=2g or --ipc=host" if total < _LOADERS else "delete unused files from /dev/shm"
    if free < _OBJECT_STORE:
        return Finding("/dev/shm", "warning", f"{text}; Ray then uses a disk", remedy)
    if free < _LOADERS:
        text += "; with resources.num_workers, loading large images may end in `Bus error`"
        return Finding("/dev/shm", "warning", text, remedy)
    return Finding("/dev/shm", "ok", text)


def _cpus(limits: Limits) -> CpuFacts:
    total = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    return CpuFacts(total, allowed, limits.cpus)


def _available() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
