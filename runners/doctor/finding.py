"""The finding of a check of `archsweep doctor`, and the request that checks get."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["GIB", "Finding", "Request", "gib"]

GIB = 2**30


@dataclass(frozen=True)
class Request:
    """The intended use of the machine: run directories below `run_root`, trials of so many CPUs."""

    run_root: Path
    cpus_per_trial: float = 1.0


@dataclass(frozen=True)
class Finding:
    """The result of a check; `remedy` is empty where all is well."""

    name: str
    state: Literal["ok", "warning", "problem"]
    text: str
    remedy: str = ""


def gib(number: float) -> str:
    """Bytes as GiB with a sensible number of digits."""
    value = number / GIB
    return f"{value:.2f} GiB" if value < 10 else f"{value:.0f} GiB"
