"""Small sweeps on real data, and orchestrators that a test drives by hand."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from results import LedgerWriter
from runners.driver.orchestrator import Orchestrator
from runners.planning.make_plan import make_plan
from search_space import load_sweep

TINY_FIXED = """
    name: tiny
    baseline:
      arch: {model: vit, depth: 2, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: builtin/digits}
      train: {epochs: 2, batch_size: 256, lr: 0.003}
    space:
      arch.attention: [softmax, reattention, groupmix]
    design: one_factor
    seeds: 2
    metric: top1
"""

TINY_SEARCH = """
    name: tiny_search
    baseline:
      arch: {model: vit, depth: 2, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: builtin/digits, val_fraction: 0.2}
      train: {epochs: 4, batch_size: 256, lr: 0.003}
    space:
      arch.depth: [1, 2, 3]
      arch.mlp_ratio: {min: 1.0, max: 4.0}
      train.lr: {min: 0.0005, max: 0.01, log: true}
    design: search
    search: {sampler: random, num_trials: 6, seed: 1}
    prune: {pruner: median, n_startup_trials: 2, n_warmup_steps: 1}
    seeds: 1
    metric: top1
"""

TINY_STUDIES = """
    name: tiny
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      train: {epochs: 1, batch_size: 512, lr: 0.003}
    seeds: 2
    metric: top1
    studies:
      depth: {space: {arch.depth: [1, 2]}, design: one_factor}
      mechanism: {space: {arch.attention: [softmax, reattention]}, design: one_factor, seeds: 3}
"""

TINY_RETUNE = """
    name: tuned
    baseline:
      arch: {model: vit, depth: 1, embed_dim: 20, num_heads: 2, mlp_ratio: 2, patch_size: 4, class_token: false}
      task: {name: classification, dataset: builtin/digits, val_fraction: 0.2}
      train: {epochs: 1, batch_size: 512, lr: 0.003}
    space:
      arch.attention: [softmax, reattention]
    design: one_factor
    seeds: 2
    retune:
      parameters: {train.lr: {min: 1e-4, max: 3e-2, log: true}}
      num_trials: 5
      seeds: [100]
      n_startup_trials: 3
    metric: top1
"""


@pytest.fixture
def retuned():
    """A sweep of two arms, each tuned by five settings: the first three do not depend on results."""
    return TINY_RETUNE


@pytest.fixture
def studies():
    """A file of two studies that share their baseline."""
    return TINY_STUDIES


@pytest.fixture
def write_sweep(tmp_path):
    """Writes a sweep file and returns its path."""

    def write(text=TINY_FIXED, name="sweep.yaml", **replacements):
        text = textwrap.dedent(text)
        for old, new in replacements.items():
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    returncode: int | str | None
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def archsweep():
    """The command as it is typed in `cwd`, but carried out here: starting a Python with torch takes seconds."""
    from runners.cli import main

    def archsweep_(*arguments, cwd):
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            patch.dict(os.environ, COLUMNS="120", NO_COLOR="1"),
            patch.object(sys, "argv", ["archsweep", *map(str, arguments)]),
            pytest.raises(SystemExit) as ending,
        ):
            main()
        return Ended(ending.value.code or 0, out.getvalue(), err.getvalue())

    return archsweep_


@pytest.fixture
def open_orchestrator(tmp_path):
    """Opens a run directory with a real ledger; closes it at the end. Called again, it is a restart of the driver."""
    ledgers = []

    def open_(path, *, run="run", overrides=(), **options):
        if ledgers:
            ledgers.pop().close()
        plan = make_plan(load_sweep(path, overrides=overrides))
        ledger = LedgerWriter(tmp_path / run).__enter__()
        ledgers.append(ledger)
        return Orchestrator(plan, ledger, **options)

    yield open_
    for ledger in ledgers:
        ledger.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark tests that need Ray with `ray`, and run them in one process of pytest, so that the cluster starts once."""
    for item in items:
        if "ray_nodes" in getattr(item, "fixturenames", ()):  # `ray_cluster` and `add_node` need it, too
            item.add_marker(pytest.mark.xdist_group("ray"))
        if any(mark.args == ("ray",) for mark in item.iter_markers("xdist_group")):
            item.add_marker("ray")


def pretended_gpus():
    """Trials of processes that start meanwhile train on the CPU where they have reserved a GPU."""
    return patch.dict(os.environ, ARCHSWEEP_PRETEND_GPUS="1")


@pytest.fixture(scope="session")
def node_forkserver_variable():
    """The variable by which workers find one forkserver, as those of a private cluster: its trials start in no time."""
    from runners.engines.forkserver.start import spawned_forkserver
    from runners.engines.forkserver.trial_target import VARIABLE

    with spawned_forkserver() as address:
        yield {VARIABLE: address}


@pytest.fixture(scope="session")
def ray_nodes(node_forkserver_variable):
    """One real Ray cluster for the whole test run, of one node to which tests add others."""
    import runners.engines.ray.engine  # noqa: F401 - sets the environment that Ray reads at import

    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    # The GPU is pretended: Ray places by it, the trials find no device and train on the CPU.
    head = {"num_cpus": 2, "num_gpus": 1, "resources": {"gpu_memory_gib": 2}, **small}
    with pretended_gpus(), patch.dict(os.environ, node_forkserver_variable):
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # what an in-process trial of another test hid
        cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="session")
def ray_cluster(ray_nodes):
    """The address of the cluster. Engines of this process use it as it is."""
    return ray_nodes.address


@pytest.fixture
def add_node(ray_nodes, node_forkserver_variable):
    """Adds a node to the cluster until the test ends."""
    added = []

    def add(*, pretends=True, **options):
        pretended = pretended_gpus() if pretends else contextlib.nullcontext()
        with pretended, patch.dict(os.environ, node_forkserver_variable):
            node = ray_nodes.add_node(object_store_memory=80 * 2**20, **options)
        added.append(node)
        return node

    yield add
    for node in added:
        if node in ray_nodes.worker_nodes:
            ray_nodes.remove_node(node)


@pytest.fixture(scope="session")
def processes_below():
    """Finds processes that another one started, directly or not: other sweeps may be running on the machine."""

    def find(root, pattern):
        """Their ids, where the name and the command line match the pattern."""
        known = dict(_processes())
        found = {root}
        while more := {pid for pid, (parent, _) in known.items() if parent in found} - found:
            found |= more
        return sorted(pid for pid in found - {root} if re.search(pattern, known[pid][1]))

    return find


def _processes():
    """Process id, and its parent with its name and command line, of every process."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):  # it has ended
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            yield int(entry.name), (parent, (entry / "comm").read_text() + words)


@pytest.fixture
def busy_worker(processes_below):
    """Finds the worker of this process's cluster that waits for a trial: only one may."""

    def find():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:  # Ray's name of a worker is another one between two steps
            if found := processes_below(os.getpid(), "ray::ResourceTrainable.train"):
                return found[0]
        raise AssertionError("no worker is in a step")

    return find
