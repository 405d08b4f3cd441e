"""A cluster of our own that does not start is an error for people, and nothing of its attempts is left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runners.machine.scratch import PREFIX, SHORT_DIRECTORY

ROOT = Path(__file__).parents[3]
# Ray itself gives up: its head process has no time at all to say on which port it listens.
NO_PATIENCE = {"RAY_gcs_server_port_wait_time_s": "0"}
START = """
import os
import subprocess
from runners.engines.nodes.cluster import cluster
from search_space import SpecError
try:
    with cluster(None):
        print("it started")
except SpecError as err:
    print(err)
# Without those that have ended and are not yet waited for.
listed = subprocess.run(["ps", "-o", "stat=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
print([line for line in listed.stdout.splitlines() if "ps -o" not in line and not line.startswith("Z")])
print("of", os.getpid())
"""
MESSAGE = re.compile(
    r"""--engine ray: Ray did not start on this machine, tried 3 times in \d+ s: Timed out waiting for file .*
  is the machine busy\? Try again later; `archsweep doctor` looks for other causes\.
  --engine in-process trains without Ray, one trial after the other
\[\]
of (\d+)
"""
)


def environment():
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, **NO_PATIENCE, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_ray_that_does_not_start_is_one_message_and_leaves_no_process_and_no_folder():
    done = subprocess.run([sys.executable, "-c", START], env=environment(), capture_output=True, text=True, cwd=ROOT)
    found = MESSAGE.fullmatch(done.stdout)
    assert found is not None, done
    assert list(SHORT_DIRECTORY.glob(f"{PREFIX}ray-{found[1]}-*")) == []


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_run_whose_ray_does_not_start_ends_with_2_and_one_problem(write_sweep, tmp_path):
    command = [sys.executable, "-m", "archsweep", "run", str(write_sweep())]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.partition("archsweep: 1 problem\n")[2].startswith("\n--engine ray: Ray did not start")
    assert "Traceback" not in done.stderr
    assert "Timed out waiting for file" in (tmp_path / "runs/tiny/driver.log").read_text()
    assert (tmp_path / "runs/tiny/ledger.jsonl").read_text() == ""
