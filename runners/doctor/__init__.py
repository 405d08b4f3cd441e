"""Checks of the machine for `archsweep doctor`: each looks at one cause of failing or slow runs and names a remedy.

A `problem` stops trials, a `warning` makes them slower, fewer or fragile. A check is two functions: `check_...` gathers
facts, `judge_...` makes a finding of them, so that tests can judge machines that are not at hand.
"""

from __future__ import annotations

from collections.abc import Callable

from runners.doctor.finding import Finding, Request
from runners.doctor.machine import (
    check_cpus,
    check_memory,
    check_shared_memory,
    check_threads,
)
from runners.doctor.places import check_disk, check_file_system
from runners.doctor.software import check_gpus, check_own_packages, check_packages, check_python, check_ray

__all__ = ["CHECKS", "Finding", "Request", "diagnose"]

CHECKS: dict[str, Callable[[Request], Finding]] = {
    "python": check_python,
    "archsweep": check_own_packages,
    "packages": check_packages,
    "gpus": check_gpus,
    "cpus": check_cpus,
    "threads": check_threads,
    "memory": check_memory,
    "/dev/shm": check_shared_memory,
    "disk": check_disk,
    "file system": check_file_system,
    "ray": check_ray,
}
"""Name -> check, in the order in which they are shown."""


def diagnose(request: Request) -> list[Finding]:
    """All findings, in the order of the table. A check that itself fails becomes a warning with its error."""
    found = []
    for name, check in CHECKS.items():
        try:
            found.append(check(request))
        except Exception as err:
            text = f"could not be checked: {type(err).__name__}: {err}"
            found.append(Finding(name, "warning", text, "tell us: it should have been"))
    return found
