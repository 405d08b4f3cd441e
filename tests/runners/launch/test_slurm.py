"""Slurm scripts: options of sbatch, parts of nodes, and job arrays; read by the real `sbatch` where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from results import Run
from search_space import SpecError

ENOUGH = ("--cpus-per-node", "2", "--time", "1:00:00")
ROOT = Path(__file__).parents[3]


def lines_of(script):
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]


def test_options_have_slurms_names_and_further_lines_come_last(launch):
    script = launch(
        "slurm",
        *("--gpus-per-node", "2", "--gpu-type", "a100", "--cpus-per-node", "8", "--time", "8:00:00"),
        *("--partition", "gpu", "--account", "me", "--qos", "long", "--constraint", "a100&ib|h100"),
        *("--reservation", "lab", "--mem-per-gpu", "64G", "--output", "logs of/%x-%j.out", "--error", "e.txt"),
        *("--mail-type", "END,FAIL", "--mail-user", "me@lab.org", "--exclusive"),
        *("--sbatch", "--comment='a b'", "--sbatch", "#SBATCH -x node7", "--sbatch", "--gres=nvme:1"),
    )
    assert lines_of(script) == [
        "--job-name=tiny",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=8",
        "--gpus-per-node=a100:2",
        "--mem-per-gpu=64G",
        "--time=8:00:00",
        "--partition=gpu",
        "--account=me",
        "--qos=long",
        "--constraint=a100&ib|h100",
        "--reservation=lab",
        '--output="logs of/%x-%j.out"',
        "--error=e.txt",
        "--mail-type=END,FAIL",
        "--mail-user=me@lab.org",
        "--exclusive",
        "--requeue",
        "--open-mode=append",
        "--signal=B:USR1@120",
        "--comment='a b'",
        "-x node7",
        "--gres=nvme:1",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), []),
        (("--exclusive",), ["--mem=0", "--exclusive"]),
        (("--nodes", "2"), ["--mem=0", "--exclusive"]),
        (("--exclusive", "--mem", "64G"), ["--mem=64G", "--exclusive"]),
        (("--mem-per-cpu", "4G"), ["--mem-per-cpu=4G"]),
    ],
)
def test_whole_nodes_come_with_all_their_memory(options, expected, launch):
    lines = lines_of(launch("slurm", *ENOUGH, *options))
    assert [line for line in lines if "mem" in line or "exclusive" in line] == expected


def test_every_wrong_combination_is_reported_at_once(launch):
    options = ("--mem", "lots", "--mem-per-gpu", "4G", "--gpu-type", "a100", "--mail-user", "me", "--nodes", "2")
    options += ("--no-exclusive", "--container-mounts", "/data:/data", "--qos", "a b", "--partition", "gpu\n#SBATCH x")
    with pytest.raises(SpecError) as caught:
        launch("slurm", *ENOUGH, *options, "--mail-type", "end,never")
    assert [str(problem).splitlines()[0] for problem in caught.value.problems] == [
        "--partition: not valid in an #SBATCH line: 'gpu\\n#SBATCH x'",
        "--qos: not valid in an #SBATCH line: 'a b'",
        "--mem: not an amount of memory in Slurm's format: 'lots'",
        "--mem-per-gpu: --mem and --mem-per-gpu exclude each other",
        "--mem-per-gpu: a job without GPUs",
        "--mail-type: unknown to Slurm: 'never'",
        "--gpu-type: the number of GPUs is not given",
        "--container-mounts: no container to mount in",
        "--no-exclusive: parts of several nodes: `ray symmetric-run` needs nodes without another Ray, and ends every "
        "Ray there",
    ]


@pytest.mark.parametrize("given", ["a100:2", "a100,h100", "gpu=a100"])
def test_the_type_of_gpus_is_one_name(given, launch):
    with pytest.raises(SpecError, match=f"--gpu-type: not valid in an #SBATCH line: '{given}'"):
        launch("slurm", *ENOUGH, "--gpus-per-node", "2", "--gpu-type", given)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--nodes=4", "'--nodes=4' contradicts a line of the script\n  `#SBATCH --nodes=1` is written already; change"),
        ("-N 4", "'-N 4' contradicts"),
        ("-n4", "'-n4' contradicts"),
        ("--ntasks=4", "contradicts"),
        ("--time 5", "contradicts"),
        ("#SBATCH --mem-per-cpu=1G", "`#SBATCH --mem=8G` is written already; change it with --mem"),
        ("--gres=gpu:2", "`#SBATCH --gpus-per-node=1` is written already"),
        ("--no-requeue", "contradicts"),
        ("--comment=a\n#SBATCH --uid=0", "more than one line"),
        ("--comment=a --exclusive", "more than one option"),
        ("--comment=two words", "'words' belongs to no option"),
        ("-x node7 node8", "'node8' belongs to no option"),
        ("--comment=a#b", "sbatch ends a line at '#'"),
        ("--comment='a", "cannot be read: No closing quotation"),
        ("comment", "not an option of sbatch: 'comment'"),
        ("", "not an option of sbatch: ''"),
        ("--wrap=x", "does not belong into a script"),
    ],
)
def test_lines_that_contradict_the_script_are_refused(line, message, launch):
    with pytest.raises(SpecError) as caught:
        launch("slurm", *ENOUGH, "--mem", "8G", "--gpus-per-node", "1", f"--sbatch={line}")
    assert message in str(caught.value) or line == ""
    assert str(caught.value).startswith("--sbatch: ")


@pytest.fixture
def submitting(tmp_path, monkeypatch, sweep_text):
    """Runs `archsweep launch` with a stand-in for `sbatch`, which says what folders of logs it finds."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "sbatch"
    program.write_text('#!/bin/sh\nls -d "$PWD"/*logs* 2>/dev/null; echo 7\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def submit(*options):
        (tmp_path / "tiny.yaml").write_text(sweep_text)
        command = [sys.executable, "-m", "archsweep", "launch", *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return submit


@pytest.mark.default_run("slurm")
@pytest.mark.parametrize("name", ["slurm", "slurm-array"])
def test_the_folder_of_the_output_is_there_before_the_job(name, submitting, tmp_path):
    """Slurm makes none, and a job without it fails in silence."""
    options = ("tiny.yaml", *ENOUGH, "--output", "my logs/%j.out", "--error", "%x/%j.err")
    done = submitting(name, *options, "--submit")
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "my logs") in done.stdout
    assert "without it the job fails in silence: %x" in done.stderr
    assert "silence: my logs" not in done.stderr


def test_a_printed_script_says_which_folder_is_missing_and_that_no_trial_takes_the_gpus(submitting, tmp_path):
    options = ("slurm", "tiny.yaml", *ENOUGH, "--output", "logs/%j.out", "--gpus-per-node", "1")
    done = submitting(*options)
    assert "fails in silence: logs" in done.stderr
    assert "warning: no trial takes a GPU (resources.gpus is 0), so those of a node would be idle" in done.stderr
    (tmp_path / "logs").mkdir()
    quiet = submitting(*options, "--set", "resources.gpus=1")
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_in_a_container_srun_starts_archsweep_and_mounts_its_folders(launch, tmp_path):
    options = ("--container-image", "me/arch sweep:1", "--container-mounts", "/data:/data")
    script = launch("slurm", *ENOUGH, *options, "--out", "/shared/runs/x")
    assert (
        "srun --nodes=1 --ntasks=1 --cpus-per-task=\"$SLURM_CPUS_PER_TASK\" '--container-image=me/arch sweep:1' "
        f"--container-workdir={tmp_path} "
        f'--container-mounts="$folder:$folder",{tmp_path}:{tmp_path},/shared/runs:/shared/runs,/data:/data '
        "\\\n    bash -c "
    ) in script
    assert "export PATH" not in script  # of this environment, which the container does not have


def test_a_part_of_a_node_needs_the_names_of_its_gpus(launch, tmp_path):
    """Two of eight: where Slurm does not say which two, trials would take those of other jobs."""
    script = launch("slurm", *ENOUGH, "--gpus-per-node", "2", "--setup", "archsweep() { true; }")
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("archsweep: Slurm gave this job GPUs without their names (CUDA_VISIBLE_DEVICES).")
    whole = launch("slurm", *ENOUGH, "--gpus-per-node", "2", "--exclusive")
    assert "CUDA_VISIBLE_DEVICES" not in whole


def test_an_array_has_a_task_for_each_trial_and_as_many_at_once_as_the_sweep_says(launch):
    """4 trials of 1 CPU; tasks of 2 CPUs have room for 2 each."""
    concurrent = ("--set", "resources.max_concurrent=2")
    assert "--array=0-1" in lines_of(launch("slurm-array", *ENOUGH))
    assert "--array=0-3%2" in lines_of(launch("slurm-array", "--cpus-per-node", "1", "--time", "5", *concurrent))
    given = launch("slurm-array", *ENOUGH, "--tasks", "3", "--at-once", "1")
    assert "--array=0-2%1" in lines_of(given)
    assert "num_shards=3 " in given


def test_a_design_that_decides_by_results_gets_no_array(launch):
    prune = "prune: {pruner: median}\n"
    with pytest.raises(SpecError, match="prune: cannot be divided into shards: a pruner compares a trial with all"):
        launch("slurm-array", *ENOUGH, edit=lambda sweep: sweep + prune)


@pytest.mark.slow
def test_the_tasks_of_an_array_and_the_job_after_them_make_one_run(launch, tmp_path):
    """Run by bash with the variables of Slurm: the collected metrics equal those of a single run, bit by bit."""
    folder = tmp_path / "it's here"
    command = f'archsweep() {{ "{sys.executable}" -m archsweep "$@"; }}; export -f archsweep'
    options = ("--cpus-per-node", "1", "--tasks", "3", "--time", "5", "--out", str(folder / "ru n"), "--setup", command)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "archsweep"
    program.write_text(f'#!/bin/bash\nexec "{sys.executable}" -m archsweep "$@" --no-cache\n')
    program.chmod(0o755)
    script = launch("slurm-array", *options[:-1], f'export PATH="{tmp_path}/bin:$PATH"')
    (tmp_path / "array.sh").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "1"}

    def job(*arguments, task):
        environment["SLURM_ARRAY_TASK_ID"] = str(task)
        done = subprocess.run(
            ["bash", "array.sh", *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr

    for task in range(3):
        job(task=task)
    job("collect", task=0)
    subprocess.run(
        [str(program), "run", "tiny.yaml", "--engine", "in-process", "--out", "single", "-q"],
        env=environment, cwd=tmp_path, check=True, timeout=300,
    )  # fmt: skip

    def metrics(path):
        return {record.trial_id: record.metrics for record in Run.open(path).records}

    assert metrics(folder / "ru n") == metrics(tmp_path / "single")
    assert len(metrics(tmp_path / "single")) == 4


needs_slurm = pytest.mark.skipif(
    shutil.which("sbatch") is None or subprocess.run(["scontrol", "ping"], capture_output=True).returncode != 0,
    reason="no Slurm answers here",
)


@needs_slurm
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--exclusive",),
        ("--mem", "100M", "--output", 'a b\'c "d" #e %j.out', "--error", "x", "--mail-type", "END,TIME_LIMIT_80"),
        ("--mem-per-cpu", "10M", "--sbatch", "--comment='a b#c'", "--sbatch", "--nice=5"),
    ],
)
@pytest.mark.parametrize("name", ["slurm", "slurm-array"])
def test_sbatch_reads_the_script(name, options, launch, tmp_path):
    (tmp_path / "job.sh").write_text(launch(name, "--cpus-per-node", "1", "--time", "5", *options))
    done = subprocess.run(["sbatch", "--test-only", "job.sh"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck here")
@pytest.mark.parametrize("options", [(), ("--exclusive",), ("--container-image", "me/a b:1"), ("--gpus-per-node", "2")])
@pytest.mark.parametrize("name", ["slurm", "slurm-array"])
def test_shellcheck_finds_nothing(name, options, launch, tmp_path):
    (tmp_path / "job.sh").write_text(launch(name, *ENOUGH, *options))
    done = subprocess.run(["shellcheck", "--severity=warning", "job.sh"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
