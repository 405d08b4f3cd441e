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
import time
from collections.abc import Callable
from pathlib import Path

import torch

import runners.engines.ray.engine  # noqa: F401 - sets the environment that Ray reads at import
from results.store.run_layout import RunDir
from runners.engines.nodes.checks import JoiningNodes, check_nodes, living
from runners.engines.nodes.cluster import cluster as connected
from runners.engines.nodes.facts import ROOMS
from runners.engines.ray.placement import Placement
from runners.planning.make_plan import make_plan
from runners.run_sweep import run_sweep
from search_space import Resources, load_sweep

from ray.cluster_utils import Cluster  # isort: skip

CLONE_NEWNS = 0x00020000
ROOT = Path(__file__).parents[3]
EDIT = """

_unedited = run_trial


def run_trial(*args, **kwargs):
    print("the edited copy")
    return _unedited(*args, **kwargs)
"""


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def join_with_another_torch(address: str, folder: Path) -> None:
    """A node in a mount namespace in which torch's own files say that it has another version."""
    (metadata,) = Path(torch.__path__[0]).parent.glob("torch-*.dist-info/METADATA")
    edited = folder / "METADATA"
    edited.write_text(metadata.read_text().replace("\nVersion: ", "\nVersion: 0.", 1))
    start = [Path(sys.executable).with_name("ray"), "start", f"--address={address}", "--num-cpus=1", "--block"]
    script = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
    subprocess.Popen(["unshare", "--mount", "sh", "-c", script, "sh", edited, metadata, *start], stdout=sys.stderr)


def nodes_that_join(folder: Path, cluster: Cluster) -> dict[str, list[int]]:
    """How many nodes trials keep off after one has joined that is like the others, and after one that is not: when
    they have just come, and once they have answered."""
    resources, found = Resources(), {}
    with connected(cluster.address):
        joining = JoiningNodes(RunDir.of(folder), resources, known=check_nodes(RunDir.of(folder), resources))
        joins = {
            "alike": lambda: cluster.add_node(num_cpus=1, wait=False),
            "another torch": lambda: join_with_another_torch(cluster.address, folder),
        }
        for name, join in joins.items():
            number = len(living(resources)) + 1
            join()
            await_until(lambda number=number: len(living(resources)) == number)
            joining.poll()
            asked = len(joining.unusable)
            await_until(lambda: (joining.poll(), joining.unusable == joining.refused)[1])
            found[name] = [asked, len(joining.unusable)]
        placement = Placement(resources, [resources], lambda assignment: resources, joining=joining)
        taken = [{"CPU": 1.0, "GPU": 0.0}] * 5
        rooms = [number for number in range(5) if placement.has_room(taken[:number])]
        found["room for one more beside so many"] = rooms
    return found


def await_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


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
    edited.write_text((ROOT / "runners" / "training" / "trial.py").read_text() + EDIT)
    mount("--bind", str(edited), str(ROOT / "runners" / "training" / "trial.py"))
    result = run_sweep(make_plan(load_sweep(Path(sweep))), Path(folder, "run"), address=cluster.address)
    print(json.dumps({**result.counts, **nodes_that_join(Path(folder), cluster)}), flush=True)
    os._exit(0)  # the cluster ends with the process namespace this runs in


if __name__ == "__main__":
    main(*sys.argv[1:])
