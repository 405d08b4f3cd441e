"""The examples of docs/plugins.md as files, the command line as a user starts it, and a run without training."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from results import LedgerWriter, PlannedVariant, RunPlan, TrialRecord, write_plan

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r'```(?:python|yaml) title="(.*?)"\n(.*?)```', PAGE, re.DOTALL))


@pytest.fixture
def example(tmp_path):
    """Writes an example of the page beside the test's other files, with changes, and returns its path."""

    def write(name: str, *, to: str = "", **changes: str) -> Path:
        text = EXAMPLES[name]
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / (to or name)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def type_(tmp_path):
    """`archsweep ARGUMENTS` in a process of its own, so that a plug-in is loaded there and nowhere else."""

    def type_here(*arguments: object, returns: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "ARCHSWEEP_CACHE": "off",
        }
        command = [sys.executable, "-m", "archsweep", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        assert done.returncode == returns, done.stdout + done.stderr
        return done

    return type_here


@pytest.fixture
def finished_run(tmp_path):
    """A run directory of two variants, as a run leaves it."""
    names = {"baseline": (90.0, 40.0), "deep": (91.5, 60.0)}
    variants = [
        PlannedVariant(name=name, variant_id=f"id-{name}", is_baseline=name == "baseline", params_m=1.5)
        for name in names
    ]
    plan = RunPlan(sweep="s", design="list", metric="top1", seeds=[0], variants=variants)
    write_plan(tmp_path / "run", plan)
    with LedgerWriter(tmp_path / "run") as ledger:
        for name, (top1, seconds) in names.items():
            trial = {"trial_id": f"{name}-0", "variant_id": f"id-{name}", "variant": name, "seed": 0}
            more = {"status": "completed", "spec": {"seed": 0}, "metrics": {"top1": top1}, "train_seconds": seconds}
            ledger.append(TrialRecord.model_validate(trial | more))
    return tmp_path / "run"
