"""Is this machine fit to run sweeps? Each check looks at one thing that makes runs fail or crawl, and says what to do.

A `problem` stops trials, a `warning` makes them slower, fewer or fragile.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

__all__ = ["CHECKS", "Finding", "diagnose"]

_GIB = 2**30
_OPEN_FILES = 4096
_OBJECT_STORE = 0.2 * _GIB  # what a private cluster asks for
_RAY_SECONDS = 120
_START_RAY = """
import os
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
import runners.engines.cluster as own
import ray
with own.cluster(None):
    print("CPUs: %g, GPUs: %g" % (ray.cluster_resources().get("CPU", 0), ray.cluster_resources().get("GPU", 0)))
"""


@dataclass(frozen=True)
class Finding:
    """What a check found; `remedy` is empty where all is well."""

    name: str
    state: Literal["ok", "warning", "problem"]
    text: str
    remedy: str = ""


def diagnose(run_root: Path) -> list[Finding]:
    """All findings, in the order of the table. A check that itself fails is a warning that says so.

    Args:
        run_root: where run directories are made.
    """
    found = []
    for name, check in CHECKS.items():
        try:
            found.append(check(run_root))
        except Exception as err:
            found.append(Finding(name, "warning", f"could not be checked: {type(err).__name__}: {err}"))
    return found


def _python(run_root: Path) -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")


def _packages(run_root: Path) -> Finding:
    """Versions outside the range that archsweep declares; extras are not asked for."""
    wrong, have = [], []
    for line in importlib.metadata.requires("archsweep") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing (needs {requirement.specifier})")
            continue
        if requirement.name in ("torch", "timm", "ray", "optuna"):
            have.append(f"{requirement.name} {version}")
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version}, needs {requirement.specifier}")
    if wrong:
        return Finding("packages", "problem", "; ".join(wrong), "pip install -c constraints.txt archsweep")
    return Finding("packages", "ok", ", ".join(have))


def _gpus(run_root: Path) -> Finding:
    import torch

    if torch.cuda.is_available():
        names = []
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            names.append(f"{properties.name} ({properties.total_memory / _GIB:.0f} GiB)")
        return Finding("gpus", "ok", ", ".join(names))
    driver = shutil.which("nvidia-smi")
    if driver is None:
        return Finding("gpus", "ok", "none; trials run on the CPU")
    if torch.version.cuda is None:
        text = "there is an NVIDIA driver, but this torch is a CPU build"
        return Finding("gpus", "problem", text, "install torch with CUDA: https://pytorch.org/get-started/locally")
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return Finding("gpus", "warning", "hidden by CUDA_VISIBLE_DEVICES=''", "unset it to use them")
    text = f"there is an NVIDIA driver, but torch (CUDA {torch.version.cuda}) finds no GPU"
    return Finding(
        "gpus", "problem", text, "`nvidia-smi` tells the driver's CUDA version; it must not be older than torch's"
    )


def _cpus(run_root: Path) -> Finding:
    """Ray takes the CPUs this process may run on; a quota of a container is not among what it sees."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cpus()
    if quota is not None and quota < allowed:
        text = f"{allowed} CPUs are visible, the container may use {quota:g}"
        remedy = f"--set resources.max_concurrent={max(1, int(quota))}, or trials wait for each other"
        return Finding("cpus", "warning", text, remedy)
    hidden = f" of {os.cpu_count()}" if os.cpu_count() != allowed else ""
    return Finding("cpus", "ok", f"{allowed}{hidden}")


def _cgroup_cpus() -> float | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _memory(run_root: Path) -> Finding:
    available = _available_memory()
    if available is None:
        return Finding("memory", "ok", "not told by this system")
    cpus = os.cpu_count() or 1
    text = f"{available / _GIB:.1f} GiB available"
    if available < 2 * _GIB:
        return Finding("memory", "warning", text, "a worker with torch takes about 0.7 GiB: fewer trials at a time")
    if available < cpus * _GIB:
        remedy = f"with {cpus} CPUs, --set resources.max_concurrent={max(1, int(available / _GIB))}"
        return Finding("memory", "warning", text, remedy)
    return Finding("memory", "ok", text)


def _available_memory() -> float | None:
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(float(line.split()[1]) * 1024)
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current"))
        if limit != "max":
            found.append(float(limit) - float(used))
    except OSError:
        pass
    return min(found) if found else None


def _open_files(run_root: Path) -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _OPEN_FILES:
        hint = f"ulimit -n {hard if hard > soft else _OPEN_FILES}"
        return Finding("open files", "warning", f"at most {soft}; Ray opens hundreds per worker", hint)
    return Finding("open files", "ok", f"at most {soft}")


def _shared_memory(run_root: Path) -> Finding:
    path = Path("/dev/shm")
    if not path.is_dir():
        return Finding("/dev/shm", "ok", "not used on this system")
    free = shutil.disk_usage(path).free
    text = f"{free / _GIB:.2f} GiB free"
    if free < _OBJECT_STORE:
        return Finding("/dev/shm", "warning", f"{text}; Ray then uses a disk", "docker run --shm-size=1g, or free some")
    return Finding("/dev/shm", "ok", text)


def _disk(run_root: Path) -> Finding:
    place = run_root.resolve()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            pass
    except OSError as err:
        return Finding("disk", "problem", f"{place}: cannot write: {err.strerror}", "run elsewhere, or --out DIR")
    lacking = [
        f"{shutil.disk_usage(path).free / _GIB:.2f} GiB free in {path}"
        for path in {place, Path(tempfile.gettempdir())}
        if shutil.disk_usage(path).free < _GIB
    ]
    if lacking:
        return Finding("disk", "warning", "; ".join(sorted(lacking)), "free some; Ray stops at 95 % of its disk")
    return Finding("disk", "ok", f"{shutil.disk_usage(place).free / _GIB:.1f} GiB free in {place}")


def _ray(run_root: Path) -> Finding:
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _START_RAY], capture_output=True, text=True, timeout=_RAY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        remedy = "a firewall on loopback, or a slow disk; `--engine in-process` needs no Ray"
        return Finding("ray", "problem", f"did not start within {_RAY_SECONDS} s", remedy)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("ray", "problem", f"does not start: {last}", "`--engine in-process` needs no Ray")
    return Finding("ray", "ok", f"starts in {time.monotonic() - began:.0f} s; {done.stdout.strip().splitlines()[-1]}")


CHECKS: dict[str, Callable[[Path], Finding]] = {
    "python": _python,
    "packages": _packages,
    "gpus": _gpus,
    "cpus": _cpus,
    "memory": _memory,
    "open files": _open_files,
    "/dev/shm": _shared_memory,
    "disk": _disk,
    "ray": _ray,
}
"""Name -> check, in the order in which they are shown."""
