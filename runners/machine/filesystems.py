"""File systems for run directories: refuse object storage, warn where file locks are local to one machine.

The ledger is appended to line by line and synced; `flock` excludes a second driver. Object stores offer neither: an
append rewrites the whole object, the last of two writers wins, and there is no lock that both respect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from search_space import Problem, SpecError

__all__ = ["Mount", "check_run_location", "lock_warning", "mount_of", "read_mounts"]

# `Path` has folded `s3://bucket` to `s3:/bucket`; one letter would be a Windows drive.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_OBJECT_STORES = ("blobfuse", "gcsfuse", "geesefs", "goofys", "mountpoint-s3", "rclone", "s3fs")
_MOUNTS = Path("/proc/self/mounts")


@dataclass(frozen=True)
class Mount:
    """One line of /proc/self/mounts."""

    source: str
    point: str
    kind: str
    options: tuple[str, ...]


def check_run_location(run_dir: Path, *, where: str = "--out", mounts: str | None = None) -> str | None:
    """Check the file system of a run directory.

    Args:
        where: name of the option or key, for messages.
        mounts: the text of /proc/self/mounts; default: that of this machine, empty where the file does not exist.

    Returns:
        A warning if a second driver on another machine could not be detected there; None if there is no problem.

    Raises:
        SpecError: an address of an object store, or a directory in which one is mounted.
    """
    safe = (
        "append and lock are not safe on object storage, so the ledger could lose finished trials\n"
        "use a local directory or a shared POSIX file system (NFS, Lustre, GPFS, a PVC that many nodes can write);\n"
        "copy the run directory to the store afterwards"
    )
    if found := _URL.match(str(run_dir)):
        address = str(run_dir).replace(":/", "://", 1)
        came = "a file:// address" if found[1].lower() == "file" else f"an address of object storage, {address!r}"
        hint = "write the path itself" if found[1].lower() == "file" else safe
        raise SpecError(Problem(f"{came}, cannot be a run directory", where=where, hint=hint))
    path = run_dir.resolve()
    mount = mount_of(path, read_mounts(mounts))
    if mount is None:
        return None
    if store := _object_store(mount):
        text = f"{path} is on object storage ({store}, mounted at {mount.point}), which cannot hold a run directory"
        raise SpecError(Problem(text, where=where, hint=safe))
    return lock_warning(path, mount)


def lock_warning(path: Path, mount: Mount) -> str | None:
    """Warning for a mount whose `flock` is only visible on this machine, according to its type and mount options."""
    reason = ""
    if mount.kind in ("nfs", "nfs4"):
        local = {"nolock", "local_lock=flock", "local_lock=all"} & set(mount.options)
        reason = f"NFS mounted with {sorted(local)[0]}" if local else ""
    elif mount.kind == "lustre":
        reason = "Lustre mounted with localflock" if "localflock" in mount.options else ""
    elif mount.kind in ("9p", "fuse.sshfs", "cifs", "smb3", "afs"):
        reason = f"{mount.kind} keeps locks to each machine, or may"
    if not reason:
        return None
    return (
        f"{path}: {reason}: a second driver on another machine would not be refused there. "
        "Start this sweep on one machine at a time"
    )


def read_mounts(text: str | None = None) -> list[Mount]:
    """Mounts of this machine, in mount order."""
    if text is None:
        try:
            text = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return []
    mounts = []
    for line in text.splitlines():
        parts = [re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), part) for part in line.split(" ")]
        if len(parts) >= 4:
            mounts.append(Mount(parts[0], parts[1], parts[2], tuple(parts[3].split(","))))
    return mounts


def mount_of(path: Path, mounts: list[Mount]) -> Mount | None:
    """Mount that contains `path`: the longest mount point above it, and of equal ones the last."""
    inside = [mount for mount in mounts if path.is_relative_to(mount.point)]
    return max(reversed(inside), key=lambda mount: len(mount.point), default=None)


def _object_store(mount: Mount) -> str:
    if not mount.kind.startswith("fuse"):
        return ""
    names = f"{mount.kind} {mount.source}".lower()
    return next((store for store in _OBJECT_STORES if store in names), "")
