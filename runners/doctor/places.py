"""Checks of folders and sockets: free space, locks, clocks, connections between processes."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor

from runners.cache.directory import default_directory
from runners.doctor.finding import GIB, Finding, Request, gib
from runners.machine.filesystems import check_run_location
from runners.machine.scratch import SHORT_DIRECTORY
from search_space import SpecError

__all__ = [
    "FileSystemFacts",
    "PlaceFacts",
    "check_disk",
    "check_file_system",
    "check_localhost",
    "check_sockets",
    "judge_disk",
    "judge_file_system",
    "judge_localhost",
    "judge_sockets",
]

_LEAST_FREE = 1 * GIB
_LEAST_INODES = 10_000
_FULLEST = 0.95  # Ray's own limit: it creates no object on a disk that is fuller
_MOST_SKEW_SECONDS = 2.0
_LONGEST_SOCKET = 107  # bytes of a Unix socket's path on Linux, unix(7)
_IN_SESSION = "asw-ray-4194304-abcdefgh/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
_IN_TEMP = "pymp-abcdefgh/listener-abcdefgh"


@dataclass(frozen=True)
class PlaceFacts:
    """A folder that is written to. `error`: why it cannot be, empty if it can; sizes in bytes."""

    purpose: str
    path: str
    free: float = 0.0
    total: float = 0.0
    free_inodes: float | None = None
    error: str = ""


@dataclass(frozen=True)
class FileSystemFacts:
    """The file system of the run directory. `lock_error`: error of a lock; `is_exclusive`: a second one is refused;
    `skew`: seconds that its clock is ahead of ours; `warning`, `refusal`: what is known of its kind."""

    path: str
    lock_error: str = ""
    is_exclusive: bool = True
    skew: float = 0.0
    warning: str = ""
    refusal: str = ""


def check_disk(request: Request) -> Finding:
    places = [("run directory", request.run_root), ("temporary files", Path(tempfile.gettempdir()))]
    places.append(("Ray", SHORT_DIRECTORY))
    cache = default_directory()
    return judge_disk([_look(*place) for place in [*places, *([("cache", cache)] if cache else [])]])


def judge_disk(places: Sequence[PlaceFacts]) -> Finding:
    """Judge the free space. The first of the places is the run directory; several in one folder are reported once."""
    wrong: list[str] = []
    lacking: list[str] = []
    for place in {place.path: place for place in reversed(places)}.values():
        if place.error:
            (lacking if place.purpose == "cache" else wrong).append(f"{place.path}: cannot write: {place.error}")
            continue
        name = f"{place.path} ({place.purpose})"
        if place.free < _LEAST_FREE:
            lacking.append(f"{gib(place.free)} free in {name}")
        elif place.purpose == "Ray" and place.free < (1 - _FULLEST) * place.total:
            lacking.append(f"{name} is {100 * (1 - place.free / place.total):.0f} % full")
        if place.free_inodes is not None and place.free_inodes < _LEAST_INODES:
            lacking.append(f"{place.free_inodes:.0f} more files fit into {name}")
    if wrong:
        return Finding("disk", "problem", "; ".join(sorted(wrong)), "run elsewhere, or --out DIR")
    if lacking:
        remedy = (
            f"free some; Ray stops at {100 * _FULLEST:.0f} % of its disk; ARCHSWEEP_CACHE=off does without the cache"
        )
        return Finding("disk", "warning", "; ".join(sorted(lacking)), remedy)
    return Finding("disk", "ok", f"{gib(places[0].free)} free in {places[0].path}")


def check_file_system(request: Request) -> Finding:
    folder = _existing(request.run_root)
    warning = refusal = ""
    try:
        warning = check_run_location(request.run_root) or ""
    except SpecError as err:
        refusal = err.problems[0].message
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as first, open(first.name, "rb") as second:
            first.write(b"?")
            first.flush()
            skew = os.stat(first.name).st_mtime - time.time()
            try:
                locked = lock_descriptor(first.fileno(), blocking=False)
                is_exclusive = locked and not lock_descriptor(second.fileno(), blocking=False)
            except OSError as err:
                return judge_file_system(FileSystemFacts(str(folder), err.strerror or str(err)))
            error = "" if locked else "that of a new file is refused"
            return judge_file_system(FileSystemFacts(str(folder), error, is_exclusive, skew, warning, refusal))
    except OSError as err:
        refusal = refusal or f"{folder}: cannot write: {err.strerror}"
        return judge_file_system(FileSystemFacts(str(folder), refusal=refusal))


def judge_file_system(facts: FileSystemFacts) -> Finding:
    """Judge the file system of the run directory: locks keep a second driver out, and its clock dates the trials."""
    name = "file system"
    elsewhere = "choose a local folder or a shared POSIX file system with --out"
    if facts.refusal:
        return Finding(name, "problem", facts.refusal, elsewhere)
    if facts.lock_error:
        text = f"{facts.path}: no locks: {facts.lock_error}"
        return Finding(
            name, "problem", text, f"mount it with locks (Lustre: -o flock, NFS: without nolock), or {elsewhere}"
        )
    if not facts.is_exclusive:
        text = f"{facts.path}: two processes got the same lock, so two drivers could write into one run"
        return Finding(name, "problem", text, elsewhere)
    if abs(facts.skew) > _MOST_SKEW_SECONDS:
        text = f"{facts.path}: its clock is {abs(facts.skew):.0f} s {'ahead' if facts.skew > 0 else 'behind'}"
        return Finding(name, "warning", text, "synchronise both machines with NTP (chronyd); `watch` shows wrong times")
    if facts.warning:
        return Finding(name, "warning", facts.warning, elsewhere)
    return Finding(name, "ok", f"{facts.path}: locks hold, its clock is ours")


def check_sockets(request: Request) -> Finding:
    return judge_sockets({"Ray": f"{SHORT_DIRECTORY}/{_IN_SESSION}", "TMPDIR": f"{tempfile.gettempdir()}/{_IN_TEMP}"})


def judge_sockets(longest: Mapping[str, str]) -> Finding:
    """Judge the sockets. `longest`: owner of a folder -> the longest path of a socket in it."""
    lengths = {whose: len(os.fsencode(path)) for whose, path in longest.items()}
    too_long = [f"{whose}: {length}" for whose, length in lengths.items() if length > _LONGEST_SOCKET]
    text = f"paths of sockets have at most {max(lengths.values())} of {_LONGEST_SOCKET} bytes"
    if too_long:
        text = f"paths of sockets are longer than {_LONGEST_SOCKET} bytes ({', '.join(too_long)})"
        return Finding("sockets", "problem", text, "export TMPDIR=/tmp, or another short folder")
    return Finding("sockets", "ok", text)


def check_localhost(request: Request) -> Finding:
    try:
        addresses = sorted({str(entry[4][0]) for entry in socket.getaddrinfo("localhost", None)})
    except OSError as err:
        return judge_localhost([], err.strerror or str(err), "")
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 5.0):
            return judge_localhost(addresses, "", "")
    except OSError as err:
        return judge_localhost(addresses, "", err.strerror or str(err))


def judge_localhost(addresses: Sequence[str], lookup_error: str, connect_error: str) -> Finding:
    """Judge the loopback device: Ray's processes and those of a trial communicate over it."""
    if lookup_error or not any(address == "::1" or address.startswith("127.") for address in addresses):
        said = lookup_error or f"it is {', '.join(addresses) or 'nothing'}"
        text = f"`localhost` is not this machine: {said}"
        return Finding("localhost", "problem", text, "put `127.0.0.1 localhost` into /etc/hosts")
    if connect_error:
        text = f"no connection to 127.0.0.1: {connect_error}"
        return Finding("localhost", "problem", text, "ip link set lo up; a firewall must let loopback through")
    return Finding("localhost", "ok", ", ".join(addresses))


def _look(purpose: str, path: Path) -> PlaceFacts:
    folder = _existing(path)
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
        space = os.statvfs(folder)
    except OSError as err:
        return PlaceFacts(purpose, str(folder), error=err.strerror or str(err))
    inodes = space.f_favail if space.f_files else None  # some file systems have no such limit
    return PlaceFacts(purpose, str(folder), space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize, inodes)


def _existing(path: Path) -> Path:
    """The folder, or the nearest one above it that is there: looking makes none."""
    path = path.expanduser().absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())
