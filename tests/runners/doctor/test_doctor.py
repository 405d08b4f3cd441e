"""`archsweep doctor` finds what would stop or slow a run, and says what to do about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from runners.cli.documents.schemas import schema_of
from runners.doctor import CHECKS, Request, diagnose

ROOT = Path(__file__).parents[3]


@pytest.mark.xdist_group("ray")
def test_a_machine_on_which_the_tests_run_has_no_problem(tmp_path):
    found = diagnose(Request(tmp_path / "runs"))
    assert [finding.name for finding in found] == list(CHECKS)
    assert [finding for finding in found if finding.state == "problem"] == []
    assert not (tmp_path / "runs").exists()  # looking leaves nothing behind
    assert all(bool(finding.remedy) == (finding.state != "ok") for finding in found)


@pytest.mark.slow
def test_what_is_wrong_is_found_and_ends_with_1(tmp_path):
    """One CPU of several, a run directory below a file, and a Ray that cannot be imported."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("raise ImportError('broken on purpose')")
    (tmp_path / "file").write_text("")
    script = (
        "import os, sys\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from runners.cli import main\n"
        f"sys.argv = ['archsweep', 'doctor', '--json', '--out', {str(tmp_path / 'file' / 'runs')!r}]\n"
        "main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema_of("doctor"))
    found = {finding["name"]: finding for finding in document["findings"]}
    assert found["cpus"]["text"].startswith("1")
    disk = found["disk"]
    assert (disk["state"], disk["text"], disk["remedy"]) == (
        "problem", f"{tmp_path / 'file'}: cannot write: Not a directory", "run elsewhere, or --out DIR",
    )  # fmt: skip
    assert found["file system"]["state"] == "problem"
    ray = found["ray"]
    assert (ray["state"], ray["text"], ray["remedy"]) == (
        "problem", "does not start: ImportError: broken on purpose", "`--engine in-process` needs no Ray",
    )  # fmt: skip
