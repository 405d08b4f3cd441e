"""A sweep on a real Ray cluster whose only node for trials lacks archsweep; run by test_cluster_check.py.

The node starts in a mount namespace in which archsweep's packages are empty folders. Then this process enters one of
its own in which they are there, and one file of them is edited.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import runners.engines.ray_engine  # noqa: F401 - sets the environment that Ray reads at import
from runners.drive import drive
from runners.engines.node_facts import ROOMS
from runners.plan import make_plan
from search_space import load_sweep

from ray.cluster_utils import Cluster  # isort: skip

CLONE_NEWNS = 0x00020000
ROOT = Path(__file__).parents[2]
EDIT = """

_unedited = run_trial


def run_trial(*args, **kwargs):
    print("the edited copy")
    return _unedited(*args, **kwargs)
"""


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def main(folder: str, sweep: str) -> None:
    for room in ROOMS:
        mount("-t", "tmpfs", "none", str(ROOT / room))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNS) == 0, ctypes.get_errno()
    mount("--make-rprivate", "/")
    for room in ROOMS:
        subprocess.run(["umount", ROOT / room], check=True)
    edited = Path(folder, "edited.py")
    edited.write_text((ROOT / "runners" / "trial.py").read_text() + EDIT)
    mount("--bind", str(edited), str(ROOT / "runners" / "trial.py"))
    result = drive(make_plan(load_sweep(Path(sweep))), Path(folder, "run"), address=cluster.address)
    print(json.dumps(dict(result.counts)), flush=True)
    os._exit(0)  # the cluster ends with the process namespace this runs in


if __name__ == "__main__":
    main(*sys.argv[1:])
