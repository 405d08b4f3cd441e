"""File systems that are refused for a run directory, and those with a warning; whole messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from runners.cli.app import app
from runners.machine.filesystems import check_run_location, mount_of, read_mounts
from search_space import SpecError

MOUNTS = r"""/dev/sda1 / ext4 rw,relatime 0 0
filer:/home /home nfs4 rw,relatime,vers=4.2,local_lock=none 0 0
filer:/old /home/old nfs rw,vers=3,nolock,local_lock=all 0 0
filer:/flock /home/flock nfs rw,vers=3,local_lock=flock 0 0
10.0.0.1@tcp:/scratch /scratch lustre rw,flock,lazystatfs 0 0
10.0.0.1@tcp:/fast /fast lustre rw,localflock 0 0
bucket /mnt/with\040space fuse.gcsfuse rw,nosuid 0 0
mountpoint-s3 /mnt/s3 fuse rw,nosuid 0 0
/dev/sdb1 /mnt/over ext4 rw 0 0
s3fs /mnt/over fuse.s3fs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
"""
SAFE = (
    "  append and lock are not safe on object storage, so the ledger could lose finished trials\n"
    "  use a local directory or a shared POSIX file system (NFS, Lustre, GPFS, a PVC that many nodes can write);\n"
    "  copy the run directory to the store afterwards"
)


def refusal(path: str) -> str:
    with pytest.raises(SpecError) as caught:
        check_run_location(Path(path), mounts=MOUNTS)
    return str(caught.value)


@pytest.mark.parametrize("address", ["s3://bucket/x", "gs://bucket/x", "abfs://box@account/x", "hdfs://node:9000/x"])
def test_addresses_of_object_storage_are_refused(address):
    assert refusal(address) == f"--out: an address of object storage, {address!r}, cannot be a run directory\n{SAFE}"


def test_the_message_for_a_file_address_asks_for_a_path():
    assert refusal("file:///runs/x") == "--out: a file:// address, cannot be a run directory\n  write the path itself"


@pytest.mark.parametrize(
    ("path", "store", "point"),
    [
        ("/mnt/with space/runs", "gcsfuse", "/mnt/with space"),
        ("/mnt/s3/runs/x", "mountpoint-s3", "/mnt/s3"),
        ("/mnt/over/x", "s3fs", "/mnt/over"),
    ],
)
def test_mounted_object_storage_is_refused(path, store, point):
    assert refusal(path) == (
        f"--out: {path} is on object storage ({store}, mounted at {point}), which cannot hold a run directory\n{SAFE}"
    )


@pytest.mark.parametrize("path", ["/runs", "/home/me/runs", "/scratch/me", "C:/runs", "runs/x"])
def test_local_disks_and_shared_file_systems_with_locks_pass(path):
    assert check_run_location(Path(path), mounts=MOUNTS) is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/home/old/x", "NFS mounted with local_lock=all"),
        ("/home/flock/x", "NFS mounted with local_lock=flock"),
        ("/fast/x", "Lustre mounted with localflock"),
        ("/mnt/ssh/x", "fuse.sshfs keeps locks to each machine, or may"),
    ],
)
def test_file_systems_whose_locks_are_local_are_warned_about(path, reason):
    assert check_run_location(Path(path), mounts=MOUNTS) == (
        f"{path}: {reason}: a second driver on another machine would not be refused there. "
        "Start this sweep on one machine at a time"
    )


def test_a_name_that_only_begins_like_a_mount_point_is_not_inside_it():
    found = mount_of(Path("/homes/me"), read_mounts(MOUNTS))
    assert found is not None
    assert found.point == "/"


@pytest.mark.skipif(not Path("/proc/self/mounts").exists(), reason="Linux only")
def test_mounts_default_to_those_of_this_machine():
    found = mount_of(Path("/proc/self"), read_mounts())
    assert found is not None
    assert (found.kind, found.point) == ("proc", "/proc")


def test_run_refuses_object_storage_before_anything_else(tmp_path, write_sweep):
    result = CliRunner().invoke(app, ["run", str(write_sweep()), "--out", "s3://bucket/tiny"])
    assert isinstance(result.exception, SpecError)
    assert str(result.exception).startswith("--out: an address of object storage, 's3://bucket/tiny', cannot be")
