"""CPU and memory limits of this process's control groups (cgroups).

Containers, Slurm jobs and systemd slices set such limits; `os.cpu_count` and /proc/meminfo do not show them. Groups are
nested and each of them limits: the tightest one counts. Version 2 has one tree, version 1 one for each resource; both
may be mounted. See cgroups(7) and the kernel's admin-guide/cgroup-v1 and admin-guide/cgroup-v2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["Limits", "local_limits", "read_limits"]

_NO_LIMIT = 2**60  # version 1 writes the largest multiple of a page


@dataclass(frozen=True)
class Limits:
    """Limits of a control group; None: no limit.

    `memory` and `memory_left` are in bytes; `memory_left` is that of the group nearest to its limit, and files that the
    kernel could drop from its cache do not count as used.
    """

    cpus: float | None = None
    memory: float | None = None
    memory_left: float | None = None


def local_limits() -> Limits:
    """Limits of this process; none where the system has no control groups."""
    try:
        return read_limits(Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text())
    except OSError:
        return Limits()


def read_limits(groups: str, mounts: str, *, root: Path = Path("/")) -> Limits:
    """Limits from the text of /proc/self/cgroup and /proc/self/mountinfo; `root` is prefixed to every mount point."""
    cpus, memory, memory_left = [], [], []
    for group in _groups("cpu", groups, mounts, root):
        quota, period = _words(group / "cpu.max") or (
            *_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us"),
        ) or ("max", "0")  # fmt: skip
        if quota not in ("max", "-1") and float(period) > 0:
            cpus.append(float(quota) / float(period))
    for group in _groups("memory", groups, mounts, root):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        if limit is None or limit >= _NO_LIMIT:
            continue
        used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0.0
        memory.append(limit)
        memory_left.append(max(0.0, limit - max(0.0, used - _droppable(group))))
    return Limits(*(min(found, default=None) for found in (cpus, memory, memory_left)))


def _groups(controller: str, groups: str, mounts: str, root: Path) -> Iterator[Path]:
    """Folders of this process's group and its parents, in the version 1 tree with the controller and in version 2.

    A controller is in one of the two trees only; the other has no files for it.
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for mount_root, point in _mounted(controller if controllers else "", mounts):
            inside = PurePosixPath(path)
            # In a container the tree may be mounted at our own group, whose name is relative to the host's root.
            inside = inside.relative_to(mount_root) if inside.is_relative_to(mount_root) else PurePosixPath()
            folder = root / point.lstrip("/")
            yield folder
            for part in inside.parts:
                folder = folder / part
                if part != ".." and folder.is_dir():
                    yield folder


def _mounted(controller: str, mounts: str) -> Iterator[tuple[str, str]]:
    """Root and mount point of the trees of version 1 with the controller; with none, of version 2."""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, _, *options) = left.split(), right.split(" ", 2) if right else ("", "")
        if kind == ("cgroup" if controller else "cgroup2") and (
            not controller or controller in ",".join(options).split(",")
        ):
            yield fields[3], fields[4]


def _words(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text().split())
    except OSError:
        return ()


def _number(path: Path) -> float | None:
    words = _words(path)
    return float(words[0]) if words and words[0] not in ("max", "-1") else None


def _droppable(group: Path) -> float:
    words = _words(group / "memory.stat")
    found = dict(zip(words[::2], words[1::2], strict=False))
    return float(found.get("total_inactive_file", found.get("inactive_file", 0)))
