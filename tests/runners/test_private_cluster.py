"""A run without `--address` has a cluster of its own, which nobody else can reach and of which nothing is left."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SWEEP = """
name: private
baseline:
  arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
  task: {name: classification, dataset: builtin/digits}
  train: {epochs: 60, batch_size: 256}
space: {}
design: factorial
"""


def descendants(root):
    """The process and everything it started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening_addresses(pids):
    """Local addresses on which one of these processes listens, as /proc writes them: in hexadecimal."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(os.readlink(link))
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                addresses.add(fields[1].partition(":")[0])
    return addresses


@pytest.mark.xdist_group("ray")
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads the sockets of processes in /proc")
def test_it_listens_on_loopback_only_and_leaves_no_session_behind(tmp_path):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    command = [sys.executable, "-m", "runners.cli", "run", "sweep.yaml", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    seen, deadline = set(), time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        seen |= listening_addresses(descendants(process.pid))
        time.sleep(0.2)
    assert process.wait(timeout=60) == 0
    # 127.0.0.1 as itself and mapped into IPv6, ::1; every four bytes backwards
    assert seen, "no socket was seen"
    assert seen <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert list(Path("/tmp").glob(f"asw-{process.pid}-*")) == []
