"""The script of `archsweep launch job`, carried out with a stand-in for `ray`.

What the stand-in does and answers was seen with `ray job submit` of Ray 2.60 (docs/cluster.md says what was tried).
"""

from __future__ import annotations

import json
import subprocess

import pytest

HOSTILE = "a b';$(touch pwned)`touch pwned`\"\\"
ENOUGH = ["--address", "http://head:8265", "--out", "/shared/tiny"]


@pytest.fixture
def job(launch, tmp_path):
    """`launch job` carried out with a `ray` that does with a job what Ray does, and answers as Ray 2.60 answers."""

    def run(archsweep: str, *options: str, ray: str = "true", **given: str) -> subprocess.CompletedProcess:
        script = launch("job", *ENOUGH, *options, **given)
        programs = tmp_path / "bin"
        programs.mkdir()
        for name, text in {"archsweep": archsweep, "ray": RAY_JOBS.replace("TROUBLE", ray)}.items():
            (programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name).chmod(0o755)
        (tmp_path / "tmp").mkdir()
        environment = {"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(tmp_path / "tmp"), "HERE": str(tmp_path)}
        return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=30)

    return run


# A submitted job ends with 1 if it failed and else with 0; its status is a line, and a second one where it failed.
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
    """Ray itself says 1 for every failed job, and 0 for one that was stopped."""
    done = job(f"exit {code}")
    assert (done.returncode, done.stderr) == (code, "")
    assert not list((tmp_path / "tmp").iterdir())


def test_a_job_that_ray_could_not_start_fails(job):
    done = job("exit 0", ray='echo no cluster there >&2; [ "$2" = status ]; exit')
    assert done.returncode == 1
    assert "archsweep: nothing tells how the job ended; see: ray job status --address http://head:8265 " in done.stderr


def test_the_sweep_travels_alone_with_its_job(job, tmp_path):
    (tmp_path / "large.bin").write_text("of no use to the job")
    value = "description=" + json.dumps(HOSTILE)
    done = job(f'printf "%s\\n" "$@" > {tmp_path}/words', "--set", value, file=f"{HOSTILE}.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "working_dir").iterdir()] == ["sweep.yaml"]
    assert (tmp_path / "working_dir" / "sweep.yaml").read_text() == (tmp_path / f"{HOSTILE}.yaml").read_text()
    assert (tmp_path / "words").read_text().splitlines() == [
        *("run", "sweep.yaml", "--set", value, "--address", "auto", "--out", "/shared/tiny")
    ]


def test_a_job_that_is_stopped_has_time_to_save_its_trials(job, tmp_path):
    job("exit 0", "--set", "checkpoints.grace_seconds=99.5")
    given = json.loads((tmp_path / "runtime_env").read_text())["env_vars"]
    assert 100 < int(given["RAY_JOB_STOP_WAIT_TIME_S"]) < 130
