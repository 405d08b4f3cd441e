"""A sweep on a real autoscaling Ray cluster; run by test_autoscaling.py in name spaces of its own.

Ray's fake provider starts the nodes that its autoscaler asks for as processes of this machine. Ray's own test helper
(`ray.cluster_utils.AutoscalingCluster`) needs a file that its wheel does not have, so what it does is done here. The
head has one CPU; the only kind of node that can be added has two, and there can be one at most.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import runners.engines.ray.engine  # noqa: F401 - sets the environment that Ray reads at import

import ray  # isort: skip
from ray.autoscaler._private import fake_multi_node  # isort: skip

HEAD_ID = "f" * 51 + "00000"
HEAD_KIND = "ray.head.default"  # what the fake provider calls it, too
ADDRESS = "127.0.0.1:6379"
SHORT = "/mnt"  # sockets may not lie as deep as a test's own folder


def start(folder: Path, version: str) -> None:
    # The newer autoscaler reads the provider's defaults from a file that the wheel lacks.
    shutil.copytree(Path(fake_multi_node.__file__).parent, folder / "provider")
    (folder / "provider" / "example.yaml").write_text("{}")
    subprocess.run(["mount", "--bind", folder / "provider", Path(fake_multi_node.__file__).parent], check=True)
    kinds = {
        HEAD_KIND: {"resources": {"CPU": 1}, "max_workers": 0},
        "large": {"resources": {"CPU": 2, "object_store_memory": 80 * 2**20}, "min_workers": 0, "max_workers": 1},
    }
    lists = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    config = {
        "cluster_name": "fake",
        "max_workers": 1,
        "idle_timeout_minutes": 10,
        "provider": {"type": "fake_multinode", "launch_multiple": True, "head_node_id": HEAD_ID},
        "available_node_types": {name: {**kind, "node_config": {}} for name, kind in kinds.items()},
        "head_node_type": HEAD_KIND,
        "file_mounts_sync_continuously": False,
        **{f"{name}_commands": [] for name in lists},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        **{name: {} for name in ("auth", "docker", "file_mounts", "head_node", "worker_nodes")},
    }
    path = folder / "cluster.yaml"
    path.write_text(json.dumps(config))
    env = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    if version == "v2":
        env |= {"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": HEAD_ID, "RAY_NODE_TYPE_NAME": HEAD_KIND}
        env |= {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID}
    else:  # what `ray up` leaves on its head
        Path("~/ray_bootstrap_config.yaml").expanduser().symlink_to(path)
    options = ["--num-cpus=1", f"--object-store-memory={80 * 2**20}", "--include-dashboard=false"]
    subprocess.run(
        [Path(sys.executable).with_name("ray"), "start", "--head", "--node-ip-address=127.0.0.1", *options,
         f"--autoscaling-config={path}"],
        env={**os.environ, **env}, check=True, stdout=sys.stderr,
    )  # fmt: skip


def main(folder: str, sweep: str, version: str, *overrides: str) -> None:
    from runners.planning.make_plan import make_plan
    from runners.run_sweep import run_sweep
    from search_space import load_sweep

    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", SHORT], check=True)
    os.environ["TMPDIR"] = SHORT
    start(Path(folder), version)
    ray.init(address=ADDRESS, log_to_driver=False)
    result = run_sweep(
        make_plan(load_sweep(Path(sweep), overrides=list(overrides))), Path(folder, "run"), address=ADDRESS
    )
    groups = ray.util.placement_group_table().values()
    states = {"counts": dict(result.counts), "waiting": [each for each in groups if each["state"] != "REMOVED"]}
    print(json.dumps({**states, "nodes": sorted(node["Resources"]["CPU"] for node in ray.nodes())}), flush=True)
    os._exit(0)  # the cluster ends with the process namespace this runs in


if __name__ == "__main__":
    main(*sys.argv[1:])
