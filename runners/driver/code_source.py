"""Where the running copy of archsweep came from, so that a report can say how to install the same one.

A version alone does not identify it: a checkout, a local wheel and a release may all be 0.1.0. What pip was
given is in `direct_url.json` (PEP 610), which it writes for everything that does not come from an index.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from archsweep.own_packages import ROOT
from archsweep.version import version

__all__ = ["code_source", "git", "is_checkout", "source_of_distribution", "source_of_repository"]

_SCP_LIKE = re.compile(r"(?:[^/@:]+@)?[^/:]+:(?!//)[^:]+")


def code_source() -> dict[str, Any]:
    """`kind` is one of `git` (with `revision`, `dirty`, `url` and `is_pushed`), `folder`, `file`, `index`, each with
    `version`, and `unknown`."""
    root = Path(ROOT)
    if is_checkout():
        return {"version": version(), **(source_of_repository(root) or {"kind": "folder"})}
    try:
        distribution = importlib.metadata.distribution("archsweep")
    except importlib.metadata.PackageNotFoundError:
        return {"version": version(), "kind": "unknown"}
    return {"version": distribution.version, **source_of_distribution(distribution.read_text("direct_url.json"))}


def is_checkout() -> bool:
    """Whether this copy is a checkout or an unpacked sdist, and not what was installed from one."""
    try:
        return 'name = "archsweep"' in (Path(ROOT) / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False


def source_of_repository(root: Path) -> dict[str, Any] | None:
    """The state of the git repository whose top is `root`; None if it is not the top of one."""
    try:
        if Path(git(root, "rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return None
        revision = git(root, "rev-parse", "HEAD")
        is_dirty = bool(git(root, "status", "--porcelain", "--untracked-files=no"))
        pushed = git(root, "for-each-ref", "--count=1", "--contains", revision, "refs/remotes")
    except (OSError, subprocess.SubprocessError):
        return None
    try:
        url = _public(git(root, "remote", "get-url", "origin"))
    except subprocess.SubprocessError:  # no remote of that name
        url = ""
    return {"kind": "git", "url": url, "revision": revision, "dirty": is_dirty, "is_pushed": bool(pushed)}


def source_of_distribution(direct_url: str | None) -> dict[str, Any]:
    """What an installed copy came from, by the text of its `direct_url.json`; None if it has none."""
    if direct_url is None:
        return {"kind": "index"}
    try:
        found = json.loads(direct_url)
        url = str(found["url"])
        if "vcs_info" in found:
            revision = str(found["vcs_info"]["commit_id"])
            return {"kind": "git", "url": _public(url), "revision": revision, "dirty": False, "is_pushed": True}
        if "archive_info" not in found:
            return {"kind": "folder"}
        hashes = found["archive_info"].get("hashes") or {}
        sha256 = str(hashes.get("sha256") or found["archive_info"].get("hash", "").removeprefix("sha256="))
        return {"kind": "file", "name": urlsplit(url).path.rpartition("/")[2], "url": _public(url), "sha256": sha256}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"kind": "unknown"}


def git(directory: Path, *arguments: str) -> str:
    """What git answers.

    Raises:
        OSError, SubprocessError: there is no git, or it refuses.
    """
    done = subprocess.run(
        ["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _public(url: str) -> str:
    """The address without what gives access; empty if it leads to this machine only."""
    if _SCP_LIKE.fullmatch(url):  # git@host:me/repository.git
        host, _, path = url.partition(":")
        url = f"ssh://{host}/{path}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ssh", "git") or not parts.hostname:
        return ""
    place = parts.hostname + (f":{parts.port}" if parts.port else "")
    if parts.scheme == "ssh" and parts.username:
        place = f"{parts.username}@{place}"
    return urlunsplit((parts.scheme, place, parts.path, "", ""))
