"""A disk that is full or read-only: clear words, an exit code, nothing lost, and the run goes on once there is space.

On a real file system of 256 KiB, which only root may mount; elsewhere these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from results import Run, read_ledger

SWEEP = """
    name: tiny
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 4, num_heads: 1, mlp_ratio: 1, patch_size: 4, class_token: false}
      train: {epochs: 2, batch_size: 2048}
    space: {arch.mlp_ratio: [1, 2]}
    design: one_factor
    seeds: 2
    metric: top1
    checkpoints: {min_seconds: 0}
"""
PAGE = 4096
FULL = "the disk is full\n  free some space and run the same command again: it continues\n"


def _mount(*arguments):
    mount = shutil.which("mount")
    return mount is not None and subprocess.run([mount, *map(str, arguments)], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path):
    """A file system with room for 64 pages."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or not _mount("-t", "tmpfs", "-o", f"size={64 * PAGE}", "archsweep-test", place):
        pytest.skip("a small file system can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, *, but_pages: int) -> Path:
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free // PAGE
    filler.write_bytes(b"x" * PAGE * max(0, free - but_pages))
    return filler


@pytest.fixture
def run(archsweep, write_sweep, tmp_path):
    path = write_sweep(SWEEP)

    def run_(directory, *options):
        words = ["run", path, "--engine", "in-process", "-q", "--no-cache", "--out", directory, *options]
        return archsweep(*words, cwd=tmp_path)

    return run_


@pytest.fixture
def expected(run, tmp_path):
    assert run(tmp_path / "elsewhere").returncode == 0
    return {record.trial_id: record.metrics for record in Run.open(tmp_path / "elsewhere").records}


@pytest.mark.slow
def test_wherever_the_space_ends_the_run_says_so_and_goes_on_later(run, disk, expected):
    """From nothing at all to nearly enough, page after page: each time another file is the one that does not fit."""
    codes = []
    for pages in (0, 1, 2, 3, 4, 6, 8, 12, 20, 32):
        directory = disk / f"run{pages}"
        filler = fill(disk, but_pages=pages)
        done = run(directory)
        codes.append(done.returncode)
        assert done.returncode in (0, 2), done
        assert "Traceback" not in done.stderr
        if done.returncode == 2:
            assert done.stderr.startswith("archsweep: 1 problem\n\n"), done.stderr
            assert done.stderr.endswith(f"cannot write: {FULL}"), done.stderr
        before = read_ledger(directory / "ledger.jsonl")
        assert not before.torn
        filler.unlink()
        again = run(directory)
        assert again.returncode == 0, again
        records = Run.open(directory).records
        assert {record.trial_id: record.metrics for record in records} == expected
        assert len(records) == len(expected)
        assert list(records[: len(before.records)]) == before.records
        shutil.rmtree(directory)
    assert 2 in codes
    assert codes[-1] == 0, "the last size leaves enough space, or none of the others shows where it ends"


@pytest.mark.thorough
def test_views_of_a_run_on_a_full_disk_are_refused_with_a_message(run, archsweep, disk, tmp_path):
    assert run(disk / "run").returncode == 0
    fill(disk, but_pages=0)
    for verb in (["report", disk / "run"], ["table", disk / "run", "-o", disk / "table.txt"]):
        done = archsweep(*verb, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.endswith(f"cannot write: {FULL}"), done.stderr
    assert not (disk / "run" / "report.html").exists()
    assert not list((disk / "run").glob(".*.tmp"))
    for verb in ("status", "table", "ls"):
        assert archsweep(verb, disk / "run", cwd=tmp_path).returncode == 0


@pytest.mark.thorough
def test_a_run_that_may_only_be_read_can_be_looked_at(run, archsweep, disk, tmp_path):
    assert run(disk / "run", "--limit", 2).returncode == 0
    if not _mount("-o", "remount,ro", disk):
        pytest.skip("the file system cannot be made read-only")
    for verb in (["status"], ["table"], ["ls"], ["watch", "--once"], ["report", "-o", tmp_path / "report.html"]):
        done = archsweep(verb[0], disk / "run", *verb[1:], cwd=tmp_path)
        assert done.returncode == 0, done
    for done in (archsweep("report", disk / "run", cwd=tmp_path), run(disk / "run"), run(disk / "new")):
        assert done.returncode == 2
        assert done.stderr.endswith(
            "cannot write: the file system is read-only\n  choose a directory that can be written\n"
        ), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("verb", ["check sweep.yaml", "schema"])
def test_output_that_cannot_be_written_is_reported(write_sweep, tmp_path, verb):
    """Little output fails when it is flushed at the very end, much of it at once."""
    write_sweep(SWEEP)
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "runners.cli", *verb.split()]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (2, f"archsweep: 1 problem\n\nthe output: cannot write: {FULL}")
