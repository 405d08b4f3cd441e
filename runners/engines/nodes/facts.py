"""Facts about one machine of a cluster: versions of the packages of a trial, visibility of the driver's directories.

Separate and on the standard library alone, because this module travels to the nodes as it is: one that lacks archsweep,
or has another version of it, must still be able to answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import time

__all__ = [
    "COMPARED",
    "MISSING",
    "NEEDED",
    "READ_ONLY",
    "ROOMS",
    "SEEN",
    "SOURCE",
    "folder_of",
    "local_facts",
    "source_digest",
]

SEEN, READ_ONLY, MISSING = "seen", "read-only", "missing"
SOURCE = "archsweep's source"
ROOMS = ("archsweep", "modelzoo", "results", "runners", "search_space")
COMPARED = ("ray", "timm", "torch")
# What else a trial imports, scikit-learn and scipy only where its data or metrics need them; any version that archsweep
# can be installed with will do.
NEEDED = (
    "filelock",
    "msgspec",
    "numpy",
    "packaging",
    "pandas",
    "pydantic",
    "pyyaml",
    "rich",
    "safetensors",
    "scikit-learn",
    "scipy",
    "threadpoolctl",
    "torchvision",
)
# Network file systems keep listings for seconds: a directory that is there may show a new file late.
_ATTEMPTS = 6
_PAUSE_SECONDS = 0.5


def local_facts(marker: str, token: str, data_dir: str) -> dict:
    """The facts of the machine this runs on.

    Args:
        marker: a file that the driver has written into the run directory; `token` is its content.
        data_dir: empty if trials need none.

    Returns:
        `packages` name -> version or None, of what must be equal everywhere; `missing` what a trial cannot be trained
        without; `run_dir` one of SEEN, READ_ONLY, MISSING, `data_dir` True if it is there.
    """
    with contextlib.suppress(ImportError):  # it lacks archsweep
        import archsweep.own_packages  # noqa: F401 - a folder `results` in the driver's directory is not ours
    packages: dict[str, str | None] = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in COMPARED:
        version = _version(name)
        # CPU and CUDA builds of one version (2.8.0+cpu, 2.8.0+cu128) may share a cluster.
        packages[name] = version.split("+")[0] if version else None
    packages[SOURCE] = source_digest()
    return {
        "packages": packages,
        "missing": [name for name in NEEDED if _version(name) is None],
        "run_dir": _visibility(marker, token),
        "data_dir": not data_dir or os.path.isdir(data_dir),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def folder_of(room: str) -> str | None:
    """Folder of one of archsweep's packages; None if it is not installed."""
    spec = importlib.util.find_spec(room)
    return os.path.dirname(spec.origin) if spec is not None and spec.origin else None


def source_digest() -> str | None:
    """Hash of archsweep's own files, which distinguishes edited copies of one version; None if it is not installed."""
    digest = hashlib.sha256()
    for room in ROOMS:
        root = folder_of(room)
        if root is None:
            return None
        for folder, folders, files in os.walk(root):
            folders.sort()
            for file in sorted(files):
                if file.endswith(".py"):
                    path = os.path.join(folder, file)
                    digest.update(os.path.relpath(path, root).encode() + b"\0")
                    with open(path, "rb") as stream:
                        digest.update(hashlib.sha256(stream.read()).digest())
    return digest.hexdigest()[:12]


def _visibility(marker: str, token: str) -> str:
    directory = os.path.dirname(marker)
    for attempt in range(_ATTEMPTS):
        if not os.path.isdir(directory):
            break
        try:
            os.listdir(directory)  # makes a network file system look again
            with open(marker, encoding="utf-8") as stream:
                if stream.read() == token:
                    return SEEN if os.access(directory, os.W_OK) else READ_ONLY
        except OSError:
            pass  # not there yet, or not for us
        if attempt + 1 < _ATTEMPTS:
            time.sleep(_PAUSE_SECONDS)
    return MISSING
