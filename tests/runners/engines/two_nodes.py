"""A real Ray cluster of two nodes that do not see the same files; run by test_cluster_check.py in a process of its own.

Node A starts first. Then this process enters a mount namespace in which the run directory, the data and one file of
archsweep are others, and starts node B there: A sees the files on the disk, B and the driver those mounted over them.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import runners.engines.ray.engine  # sets the environment that Ray reads at import
import runners.training.trial
from results.store.run_layout import RunDir
from runners.engines.nodes.checks import check_nodes
from search_space import Resources, SpecError

import ray  # isort: skip
from ray.cluster_utils import Cluster  # isort: skip

CLONE_NEWNS = 0x00020000


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def outcome(run_dir: Path, **resources) -> list[str]:
    try:
        check_nodes(RunDir.of(run_dir), Resources(**resources))
    except SpecError as err:
        return [str(problem) for problem in err.problems]
    return []


def main(folder: str) -> None:
    run_dir, data_dir, seen = (Path(folder, name) for name in ("run", "data", "seen"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNS) == 0, ctypes.get_errno()
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "none", str(run_dir))
    mount("-t", "tmpfs", "none", str(data_dir))
    (data_dir / "train").mkdir()
    cluster.add_node(num_cpus=2, wait=False)
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    edited = Path(folder, "edited.py")
    edited.write_text(Path(runners.training.trial.__file__).read_text() + "# edited\n")
    found = {"both agree": outcome(seen)}
    print("and now what only B sees", file=sys.stderr, flush=True)
    data = str(data_dir / "train")
    found["A has no room"] = outcome(run_dir, cpus=2, data_dir=data)
    mount("--bind", str(edited), runners.training.trial.__file__)
    found["A differs"] = outcome(run_dir, data_dir=data)
    found["left behind"] = [path.name for path in (*seen.iterdir(), *run_dir.iterdir())]
    print(json.dumps(found), flush=True)
    os._exit(0)  # the cluster ends with the process namespace this runs in


if __name__ == "__main__":
    main(*sys.argv[1:])
