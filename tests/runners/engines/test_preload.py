"""What a worker's forkserver imports before it forks trials, and in which state it forks them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runners.engines.ray.fork_target import preload

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("task", ["classification", "text", "a task of a plug-in"])
def test_the_collector_is_paused_before_the_heavy_imports_and_goes_on_after_all(task):
    modules = preload(task)
    assert modules[:2] == ["archsweep.own_packages", "runners.machine.forkserver_start"]
    assert "runners.engines.ray.trial_process" in modules[2:-1]
    assert modules[-1] == "runners.machine.forkserver_signals"


def test_trials_are_forked_with_the_collector_on_and_without_what_was_imported():
    code = (
        "import gc, os\n"
        "import runners.machine.forkserver_start\n"
        "print(gc.isenabled())\n"
        "import runners.machine.forkserver_signals\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 1000, flush=True)\n"
        "os._exit(0)\n"  # a forkserver waits for its trials at the end
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


def test_what_a_task_imports_on_use_is_preloaded_for_its_trials():
    assert "runners.tasks.metrics.text" in preload("text")
    assert "runners.tasks.metrics.text" not in preload("classification")
