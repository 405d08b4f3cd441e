"""The script of `archsweep launch job`, executed with a substitute for `ray`.

The substitute behaves and answers like `ray job submit` of Ray 2.60 (docs/cluster.md lists the trials). The slow test
at the end submits to a real cluster; it needs `ray[default]`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from results import read_ledger

HOSTILE = "a b';$(touch pwned)`touch pwned`\"\\"
ENOUGH = ["--address", "http://head:8265", "--out", "/shared/tiny"]


@pytest.fixture
def job(launch, tmp_path):
    """Function that executes `launch job` with a `ray` that runs a job and answers like Ray 2.60."""

    def run(archsweep: str, *options: str, ray: str = "true", **given: str) -> subprocess.CompletedProcess:
        script = launch("job", *ENOUGH, *options, **given)
        programs = tmp_path / "bin"
        programs.mkdir()
        for name, text in {"archsweep": archsweep, "ray": RAY_JOBS.replace("TROUBLE", ray)}.items():
            (programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name).chmod(0o755)
        (tmp_path / "tmp").mkdir()
        environment = {"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(tmp_path / "tmp"), "HERE": str(tmp_path)}
        return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=300)

    return run


# `ray job submit` exits with 1 if the job failed, else with 0; the status is one line, with a second one on failure.
RAY_JOBS = r"""
TROUBLE
case "$2" in submit)
    while [ "$1" != -- ]; do
        case "$1" in
            --submission-id) echo "$2" > "$HERE/id" ;;
            --working-dir) cp -r "$2" "$HERE/working_dir" ;;
            --runtime-env-json) echo "$2" > "$HERE/runtime_env" ;;
        esac
        shift
    done
    shift
    cd "$HERE/working_dir" && sh -c "${*@Q}"
    echo $? > "$HERE/code"
    [ "$(cat "$HERE/code")" = 0 ] || [ "$(cat "$HERE/code")" = 143 ] ;;
status)
    [ "$5" = "$(cat "$HERE/id")" ] || exit 1
    echo "2026-11-21 09:57:19,334	INFO cli.py:42 -- Job submission server address: http://head:8265"
    case $(cat "$HERE/code") in
        0) echo "Job '$5' succeeded" ;;
        143) echo "Job '$5' was stopped" ;;
        *) echo "Job '$5' failed"
           echo "Status message: Job entrypoint command failed with exit code $(cat "$HERE/code"), last available logs:"
           echo "a trial failed with exit code 9" ;;
    esac ;;
esac
"""


@pytest.mark.parametrize("code", [0, 2, 3, 143])
def test_a_job_ends_with_the_code_of_archsweep(code, job, tmp_path):
    """Ray itself exits with 1 for every failed job, and with 0 for one that was stopped."""
    done = job(f"exit {code}")
    assert (done.returncode, done.stderr) == (code, "")
    assert not list((tmp_path / "tmp").iterdir())


def test_a_job_that_ray_could_not_start_fails(job):
    done = job("exit 0", ray='echo no cluster there >&2; [ "$2" = status ]; exit')
    assert done.returncode == 1
    text = "archsweep: the exit code of the job is unknown; see: ray job status --address http://head:8265 "
    assert text in done.stderr


def test_only_the_sweep_is_uploaded_with_the_job(job, tmp_path):
    (tmp_path / "large.bin").write_text("of no use to the job")
    value = "description=" + json.dumps(HOSTILE)
    done = job(f'printf "%s\\n" "$@" > {tmp_path}/words', "--set", value, file=f"{HOSTILE}.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "working_dir").iterdir()] == ["sweep.yaml"]
    assert (tmp_path / "working_dir" / "sweep.yaml").read_text() == (tmp_path / f"{HOSTILE}.yaml").read_text()
    assert (tmp_path / "words").read_text().splitlines() == [
        *("run", "sweep.yaml", "--set", value, "--address", "auto", "--out", "/shared/tiny")
    ]


def test_a_stopped_job_has_time_to_save_its_trials(job, tmp_path):
    job("exit 0", "--set", "checkpoints.grace_seconds=99.5")
    given = json.loads((tmp_path / "runtime_env").read_text())["env_vars"]
    assert 100 < int(given["RAY_JOB_STOP_WAIT_TIME_S"]) < 130


OWN_SPACE = ["unshare", "--pid", "--mount", "--net", "--fork", "--mount-proc", "--kill-child"]
IN_OWN_SPACE = """
ip link set lo up
mount -t tmpfs none /mnt
ray start --head --temp-dir=/mnt/ray --num-cpus=2 --object-store-memory=80000000 > ray.log || exit
for script in "$@"; do bash "$script" > "$script.log" 2>&1; echo $?; done
"""


def can_submit() -> bool:
    needed = [importlib.util.find_spec(name) for name in ("aiohttp_cors", "opencensus")]
    if None in needed or shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*OWN_SPACE, "true"], capture_output=True).returncode == 0


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(not can_submit(), reason="needs ray[default] and the right to create namespaces")
def test_a_real_ray_runs_the_job_and_continues_it(launch, tmp_path):
    options = ["--address", "http://127.0.0.1:8265", "--out", str(tmp_path / "run")]
    (tmp_path / "good.sh").write_text(launch("job", *options))
    (tmp_path / "bad.sh").write_text(launch("job", *options, "--set", "resources.cpus=64"))
    programs = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    env |= {"PATH": programs, "PYTHONPATH": str(Path(__file__).parents[3]), "HOME": str(tmp_path), "TMPDIR": "/mnt"}
    done = subprocess.run(
        [*OWN_SPACE, "bash", "-c", IN_OWN_SPACE, "bash", "bad.sh", "good.sh", "good.sh"],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.stdout.split() == ["2", "0", "0"], done.stderr
    records = read_ledger(tmp_path / "run" / "ledger.jsonl").records
    assert [record.status for record in records] == ["completed"] * 4
