"""What every test shares: none reads or writes the user's memory of earlier trials."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user():
    os.environ["ARCHSWEEP_CACHE"] = "off"


@pytest.fixture(scope="session")
def imports_of_a_trial():
    """What a fresh interpreter has loaded, without submodules: once it can run a trial, and once it can be a worker of
    Ray, too. It takes seconds, so that tests that ask for it share an xdist group."""
    report = "print(*{name.split('.')[0] for name in sys.modules})"
    code = f"import sys, runners.engines.ray.trial_process; {report}; import runners.engines.ray.worker; {report}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]
