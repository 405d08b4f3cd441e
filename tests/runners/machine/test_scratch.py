"""Scratch folders are closed to other users, whatever the umask, and none that was prepared is used."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile

import pytest

from runners.machine.scratch import scratch_folder


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def shared(tmp_path):
    """A directory as /tmp is, for a user without a umask."""
    tmp_path.chmod(0o1777)
    before = os.umask(0)
    yield tmp_path
    os.umask(before)


@pytest.mark.parametrize("kind", ["ray", "tune", "processes"])
def test_it_is_closed_to_others_under_any_umask(shared, kind):
    with scratch_folder(kind, directory=shared) as folder:
        assert mode(folder) == 0o700


def test_a_folder_or_link_that_was_prepared_is_not_used(shared, monkeypatch):
    """Another user may guess the names that are to come."""
    names = iter(["guessed", "linked", "free", "unused"])
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: names)
    prefix = f"asw-ray-{os.getpid()}-"
    (shared / f"{prefix}guessed").mkdir(mode=0o777)
    (shared / "elsewhere").mkdir()
    (shared / f"{prefix}linked").symlink_to("elsewhere")
    held = os.open(shared / f"{prefix}guessed", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)  # as that of a living process: it is no leftover
    with scratch_folder("ray", directory=shared) as folder:
        assert folder.name == f"{prefix}free"
    os.close(held)
