"""What a node must have in common with the driver, and in which words a difference is named."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from results.store.run_layout import RunDir
from runners.engines.nodes.checks import data_problems, requirement_problems, run_dir_warnings, version_problems
from runners.engines.nodes.facts import COMPARED, MISSING, NEEDED, READ_ONLY, SEEN, local_facts, source_digest
from runners.engines.nodes.probe import NodeReport

ROOT = Path(__file__).parents[3]
HERE = {"python": "3.11", "ray": "2.60.0", "timm": "1.0.31", "torch": "2.15.0"}
# A namespace of its own for processes and mounts: node B can see other files than A, and nothing outlives the test.
OWN_SPACE = ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child"]


def has_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*OWN_SPACE, "true"], capture_output=True).returncode == 0


def test_nodes_that_agree_are_no_problem():
    assert version_problems(HERE, [NodeReport("a (10.0.0.1)", HERE), NodeReport("b (10.0.0.2)", HERE)]) == []


def test_a_difference_names_node_package_there_and_here():
    report = NodeReport("gpu-07 (10.0.0.7)", HERE | {"torch": "2.8.0"})
    assert [str(problem) for problem in version_problems(HERE, [report])] == [
        f"node gpu-07 (10.0.0.7): torch: 2.8.0 there, 2.15.0 here (on {socket.gethostname()})\n"
        "  install the same on every node (`pip install -c constraints.txt ...`), or give all nodes one image"
    ]


def test_nodes_with_the_same_difference_are_named_together():
    reports = [NodeReport(f"n{index} (10.0.0.{index})", HERE | {"timm": None}) for index in range(5)]
    reports.append(NodeReport("n9 (10.0.0.9)", HERE | {"timm": "1.0.20", "python": "3.12"}))
    assert [str(problem).splitlines()[0] for problem in version_problems(HERE, reports)] == [
        "nodes n0 (10.0.0.0), n1 (10.0.0.1), n2 (10.0.0.2) and 2 more: timm: not installed there, 1.0.31 here "
        f"(on {socket.gethostname()})",
        f"node n9 (10.0.0.9): python: 3.12 there, 3.11 here (on {socket.gethostname()})",
        f"node n9 (10.0.0.9): timm: 1.0.20 there, 1.0.31 here (on {socket.gethostname()})",
    ]


def test_an_edited_copy_of_the_same_version_is_named():
    report = NodeReport("n1 (10.0.0.1)", {"archsweep's source": "aaaaaaaaaaaa"})
    problems = version_problems({"archsweep's source": "bbbbbbbbbbbb"}, [report])
    assert [str(problem) for problem in problems] == [
        f"node n1 (10.0.0.1): archsweep's source: aaaaaaaaaaaa there, bbbbbbbbbbbb here (on {socket.gethostname()})\n"
        "  Ray was connected before archsweep was called, so its code did not travel: install the same copy everywhere"
    ]


def test_what_a_node_lacks_is_named():
    reports = [NodeReport(f"n{index} (10.0.0.{index})", HERE, missing=("pandas", "scipy")) for index in range(2)]
    assert [str(problem) for problem in requirement_problems([*reports, NodeReport("n2 (10.0.0.2)", HERE)])] == [
        "nodes n0 (10.0.0.0), n1 (10.0.0.1): not installed there: pandas, scipy\n"
        "  archsweep travels there by itself, what it needs does not: `pip install archsweep` on every node"
    ]


@pytest.mark.thorough
@pytest.mark.xdist_group("imports of a trial")
def test_what_a_trial_imports_is_looked_for_on_every_node(imports_of_a_trial):
    """Held to what a trial's process and its worker have loaded, and to what `pip install archsweep` says it needs."""
    _, with_the_worker = imports_of_a_trial
    providers = importlib.metadata.packages_distributions()
    of_some_tasks = {"scipy", "sklearn"}  # runners/tasks/metrics/text.py, runners/data/images/digits.py
    loaded = {_normal(name) for module in with_the_worker | of_some_tasks for name in providers.get(module, ())}
    needs = [each for each in importlib.metadata.requires("archsweep") or () if "extra ==" not in each]
    assert loaded & {_normal(re.split(r"[^\w.-]", each)[0]) for each in needs} == {*NEEDED, *COMPARED}


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


def test_the_source_digest_follows_every_module_and_nothing_else(tmp_path):
    def digest() -> str:
        # by path: `import runners.engines` would load torch
        code = (
            "import runpy; import archsweep; print(runpy.run_path('runners/engines/nodes/facts.py')['source_digest']())"
        )
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
        return done.stdout.strip()

    for room in ("archsweep", "modelzoo", "results", "runners", "search_space"):
        shutil.copytree(ROOT / room, tmp_path / room)
    same = digest()
    assert same == source_digest()
    (tmp_path / "runners" / "notes.txt").write_text("not code")
    assert digest() == same
    with (tmp_path / "modelzoo" / "attention" / "groupmix.py").open("a") as stream:
        stream.write("# edited\n")
    assert digest() not in ("", same)


def test_a_file_of_the_same_name_with_other_content_is_not_the_drivers(tmp_path):
    marker = tmp_path / "marker"
    marker.write_text("the driver's")
    assert local_facts(str(marker), "the driver's", "")["run_dir"] == SEEN
    assert local_facts(str(tmp_path / "nowhere" / "marker"), "the driver's", "")["run_dir"] == MISSING


def test_run_directories_that_workers_cannot_use_are_warned_about():
    reports = [
        NodeReport("a (10.0.0.1)", {}, run_dir=SEEN),
        NodeReport("b (10.0.0.2)", {}, run_dir=MISSING),
        NodeReport("c (10.0.0.3)", {}, run_dir=READ_ONLY),
    ]
    assert run_dir_warnings(RunDir(Path("/runs/x")), reports) == [
        "node b (10.0.0.2): the run directory /runs/x is not the driver's (a path on the node's own disk?); "
        "train.log and checkpoints of trials there stay there. Choose a shared directory with --out",
        "node c (10.0.0.3): the run directory /runs/x cannot be written; "
        "trials there leave no train.log and no checkpoint",
    ]


def test_missing_data_is_a_problem_of_the_nodes_that_lack_it():
    reports = [NodeReport("a (10.0.0.1)", {}), NodeReport("b (10.0.0.2)", {}, has_data=False)]
    assert [str(problem) for problem in data_problems("/data/imagenet", reports)] == [
        "node b (10.0.0.2): resources.data_dir '/data/imagenet' is not there\n"
        "  every trial there would fail: put the data at the same path on every node, or on a shared file system"
    ]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(not has_namespaces(), reason="needs the right to create process and mount namespaces")
def test_a_real_cluster_whose_nodes_see_different_files(tmp_path):
    for name in ("run", "data", "seen"):
        (tmp_path / name).mkdir()
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run(
        [*OWN_SPACE, sys.executable, Path(__file__).with_name("two_nodes.py"), tmp_path],
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["both agree"] == []
    assert found["A has no room"] == []  # no trial can be placed there, so its files do not matter
    assert [problem.split(": ")[1] for problem in found["A differs"]] == [
        "archsweep's source",
        f"resources.data_dir '{tmp_path / 'data' / 'train'}' is not there\n  every trial there would fail",
    ]
    warned = done.stderr.split("and now what only B sees")
    assert [text.count("archsweep: warning: node ") for text in warned] == [0, 1]
    assert f"the run directory {tmp_path / 'run'} is not the driver's" in warned[1]
    assert found["left behind"] == []


# Slow, because three nodes start, one after the other. Of the default run, the test of what a trial imports holds that
# nodes are asked for their packages.
@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(not has_namespaces(), reason="needs the right to create process and mount namespaces")
def test_nodes_without_archsweep_get_it_and_nodes_with_another_torch_get_no_trials(write_sweep, tmp_path):
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run(
        [*OWN_SPACE, sys.executable, Path(__file__).with_name("bare_node.py"), tmp_path, write_sweep()],
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "completed": 6,
        "alike": [1, 0],
        "another torch": [1, 1],
        "room for one more beside so many": [0, 1],  # of three nodes with one CPU each
    }
    (warning,) = re.findall("archsweep: warning: (.*)", done.stderr)
    here = importlib.metadata.version("torch").split("+")[0]
    assert warning.startswith(f"no trials are given to a node that joined: node {socket.gethostname()} (")
    assert warning.endswith(f"): torch: 0.{here} there, {here} here (on {socket.gethostname()})")
    logs = [log.read_text() for log in (tmp_path / "run" / "trials").glob("*/train.log")]
    assert len(logs) == 6
    assert all("the edited copy" in log for log in logs)
