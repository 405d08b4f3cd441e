"""The task `command`: real programs, their results, their errors, and their ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from runners.training.distributed_trial import run_trial_in_processes
from runners.training.foreign.program import CommandFailed
from runners.training.foreign.report import BadReport
from search_space import Checkpoints, Resources, TrialSpec

GRACE = Checkpoints(grace_seconds=1.0)


def spec(folder, program: str, *arguments: str, seed: int = 0, **task) -> TrialSpec:
    (folder / "train.py").write_text(textwrap.dedent(program))
    given = {"name": "command", "argv": ["{python}", "train.py", *arguments], "measures": {"acc": "maximize"}}
    return TrialSpec.model_validate({"task": {**given, "metrics": {"json": "out.json"}, **task}, "seed": seed})


def run(trial: TrialSpec, folder, *, stop_at: int | None = None, preempt=lambda points: False, grace=GRACE):
    points: list[dict[str, float]] = []

    def report(point):
        points.append(point)
        return point["epoch"] == stop_at

    outcome = run_trial_in_processes(
        trial,
        report=report,
        resources=Resources(sweep_dir=str(folder)),
        directory=folder / "trial",
        checkpoints=grace,
        metric="acc",
        is_preempted=lambda: preempt(points),
    )
    return outcome, points


WRITES = """
    import json, os, sys
    json.dump({"acc": float(sys.argv[1]), "seen": {"args": 3, "text": "x"}, "flag": True}, open("out.json", "w"))
    json.dump([sys.argv[1:], os.environ.get("LR"), os.getcwd()], open("seen.json", "w"))
"""


def test_values_reach_arguments_environment_and_file(tmp_path):
    trial = spec(
        tmp_path,
        WRITES,
        "{lr}",
        "--seed={seed}",
        "{train.lr}",
        "{list}",
        "{{x}}",
        "{on}",
        "{no}",
        "{config_file}",
        seed=4,
        config={"lr": 0.25, "list": [1, 2], "on": True, "no": None, "net": {"depth": 3}},
        env={"LR": "{lr} of {net.depth}"},
        config_file="config.yaml",
    )
    outcome, _ = run(trial, tmp_path)
    work = tmp_path / "trial" / "work"
    arguments, environment, cwd = json.loads((work / "seen.json").read_text())
    assert arguments == ["0.25", "--seed=4", "0.001", "[1, 2]", "{x}", "true", "", str(work / "config.yaml")]
    assert (environment, cwd) == ("0.25 of 3", str(work))
    assert (work / "config.yaml").read_text() == (
        "lr: 0.25\nlist:\n- 1\n- 2\n'on': true\n'no': null\nnet:\n  depth: 3\n"
    )
    assert outcome.metrics == {"acc": 0.25, "seen.args": 3.0}


def test_files_of_arguments_are_found_from_the_trials_folder(tmp_path):
    """Beside the sweep, behind an option, and in `cwd`, but for a folder with the name of an option's value."""
    for name in ("lr.yaml", "here/data.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "vit").mkdir()
    given = ("0.5", "lr.yaml", "--config=lr.yaml", "--model=vit", "data.csv", "none.csv")
    run(
        spec(
            tmp_path,
            f"{WRITES}    json.dump({{'acc': 1}}, open(sys.argv[-1], 'w'))",
            *given,
            "{dir}/out.json",
            cwd="here",
        ),
        tmp_path,
    )
    arguments, _, cwd = json.loads((tmp_path / "here" / "seen.json").read_text())
    assert cwd == str(tmp_path / "here")
    found = [
        f"{tmp_path}/lr.yaml",
        f"--config={tmp_path}/lr.yaml",
        "--model=vit",
        f"{tmp_path}/here/data.csv",
        "none.csv",
    ]
    assert arguments[1:-1] == found


def test_metrics_of_a_csv_file_and_of_the_output(tmp_path):
    program = """
        open("summary.csv", "w").write("epoch,eval_top1,lr\\n0,10.5,0.1\\n1,30.5,0.1\\n2,20.5,0.1\\n")
        print("loss 0.5 acc 1,200.5%", "acc 7", flush=True)
    """
    columns = {"csv": "summary.csv", "rename": {"acc": "eval_top1"}}
    assert run(spec(tmp_path, program, metrics=columns), tmp_path)[0].metrics["acc"] == 20.5
    assert run(spec(tmp_path, program, metrics={**columns, "row": "best"}), tmp_path)[0].metrics["acc"] == 30.5
    patterns = {"regex": {"acc": r"acc ([\d.,]+%?)", "loss": "loss ([0-9.]+)"}}
    assert run(spec(tmp_path, program, metrics=patterns), tmp_path)[0].metrics == {"acc": 7.0, "loss": 0.5}


EPOCHS = """
    import json, sys, time
    kind, pause = sys.argv[1], float(sys.argv[2])
    for epoch in range(1, 6):
        if kind == "print": print(f"epoch {epoch}: acc {10 * epoch}", flush=True)
        if kind == "jsonl": open("log.jsonl", "a").write(json.dumps({"epoch": epoch, "acc": 10 * epoch}) + "\\n")
        if kind == "csv": open("log.csv", "a").write("epoch,acc\\n" * (epoch == 1) + f"{epoch},{10 * epoch}\\n")
        time.sleep(pause)
    json.dump({"acc": 50}, open("out.json", "w"))
"""
PROGRESS = {
    "print": {"regex": {"epoch": r"epoch (\d+)", "acc": r"acc ([\d.]+)"}},
    "jsonl": {"jsonl": "log.jsonl"},
    "csv": {"csv": "log.csv"},
}


@pytest.mark.parametrize("kind", PROGRESS)
def test_epochs_are_seen_while_it_runs_and_it_can_be_pruned(kind, tmp_path):
    whole, points = run(spec(tmp_path, EPOCHS, kind, "0.02", progress=PROGRESS[kind]), tmp_path)
    assert points == [{"epoch": epoch, "acc": 10.0 * epoch} for epoch in range(1, 6)]
    assert (whole.status, whole.metrics) == ("completed", {"acc": 50.0})
    began = time.monotonic()
    pruned, points = run(spec(tmp_path, EPOCHS, kind, "30", progress=PROGRESS[kind]), tmp_path, stop_at=1)
    assert (pruned.status, len(points)) == ("pruned", 1)
    assert time.monotonic() - began < 20


CONTINUES = """
    import os, sys, time
    print("arguments", sys.argv[1:], flush=True)
    first = int(open(sys.argv[2]).read()) if sys.argv[1:2] == ["--resume"] else 0
    for epoch in range(first, 4):
        with open("summary.csv", "a") as log:
            log.write("epoch,eval_top1\\n" * (epoch == first) + f"{epoch},{10 * epoch}\\n")
        open("new", "w").write(str(epoch + 1))
        os.replace("new", "checkpoint")
        if first == 0 and epoch == 1: time.sleep(60)
"""
OF_SUMMARY = {"csv": "summary.csv", "rename": {"acc": "eval_top1"}}
RESUMED = {
    "metrics": OF_SUMMARY,
    "progress": {**OF_SUMMARY, "first_epoch": 0},
    "resume": {"file": "checkpoint", "argv": ["--resume", "{dir}/checkpoint"]},
}


def test_an_interrupted_program_gets_the_arguments_to_continue(tmp_path):
    """Its epochs count from 0, and it writes the header of its file again, as older scripts of timm do."""
    trial = spec(tmp_path, CONTINUES, **RESUMED)
    stopped, points = run(trial, tmp_path, preempt=lambda points: len(points) == 2)
    assert (stopped.status, [point["epoch"] for point in points]) == ("preempted", [1, 2])
    ended, points = run(trial, tmp_path)
    assert (ended.status, ended.metrics) == ("completed", {"acc": 30.0})
    assert points == ended.curve == [{"epoch": epoch, "acc": 10.0 * (epoch - 1)} for epoch in range(1, 5)]
    log = (tmp_path / "trial" / "train.log").read_text()
    checkpoint = tmp_path / "trial" / "work" / "checkpoint"
    assert log.splitlines() == ["arguments []", f"arguments ['--resume', '{checkpoint}']"]
    header = "epoch,eval_top1"
    assert (checkpoint.parent / "summary.csv").read_text().split() == [header, "0,0", "1,10", header, "2,20", "3,30"]


def test_the_epoch_that_a_program_ends_in_its_grace_period_counts(tmp_path):
    program = """
        import json, os, signal, sys, time
        first = int(open("checkpoint").read()) + 1 if os.path.exists("checkpoint") else 1
        ended = []
        signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
        for epoch in range(first, 5):
            if epoch == 3 and first == 1:
                while not ended: time.sleep(0.01)
            open("checkpoint", "w").write(str(epoch))
            print(f"epoch {epoch} acc {10 * epoch}", flush=True)
            if ended: sys.exit(0)
        json.dump({"acc": 40}, open("out.json", "w"))
    """
    trial = spec(tmp_path, program, progress={"regex": {"epoch": r"epoch (\d+)", "acc": r"acc (\d+)"}})
    stopped, _ = run(trial, tmp_path, preempt=lambda points: len(points) == 2)
    assert (stopped.status, stopped.epochs) == ("preempted", 3)
    ended, points = run(trial, tmp_path)
    assert [point["epoch"] for point in points] == [4]
    assert [point["acc"] for point in ended.curve] == [10, 20, 30, 40]


def test_a_file_of_epochs_survives_an_end_before_the_first_report(tmp_path):
    """A program that was ended between its first epoch and our look at it has the epoch in its file only."""
    work = tmp_path / "trial" / "work"
    trial = spec(tmp_path, CONTINUES, **RESUMED)
    run(trial, tmp_path, preempt=lambda points: True)
    (work / "summary.csv").write_text("epoch,eval_top1\n0,0\n")
    (work / "checkpoint").write_text("1")
    _, points = run(trial, tmp_path)
    assert [point["epoch"] for point in points] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("first", "says"),
    [("0", "the first epoch has the number 0, and must have 1; if the program counts from 0, write"), ("0.5", "whole")],
)
def test_epochs_that_are_no_numbers_from_1_on(first, says, tmp_path):
    progress = {"regex": {"epoch": r"epoch (\S+)", "acc": r"acc (\S+)"}}
    with pytest.raises(BadReport, match=says):
        run(spec(tmp_path, f"print('epoch {first} acc 1')", progress=progress), tmp_path)


@pytest.mark.parametrize(
    ("program", "error", "says"),
    [
        (
            "import sys; print('no data here'); sys.exit(7)",
            CommandFailed,
            r"exit code 7: no data here$",
        ),
        (
            "import sys; print('a\\ngone\\n\\n\\n'); sys.exit(7)",
            CommandFailed,
            r"code 7: gone\nits last lines:\na\ngone$",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", CommandFailed, "was ended by SIGSEGV"),
        ("pass", BadReport, "the program wrote no out.json"),
        ("open('out.json', 'w').write('{')", BadReport, "is no JSON"),
        ("open('out.json', 'w').write('[1]')", BadReport, "must have a JSON object, but has a list"),
        ("open('out.json', 'w').write('{\"a\": 1}')", ArithmeticError, "gave no 'acc'.*it gave: a"),
        ("open('out.json', 'w').write('{\"acc\": NaN}')", ArithmeticError, "acc is nan"),
    ],
)
def test_failures_are_readable(program, error, says, tmp_path):
    with pytest.raises(error, match=says):
        run(spec(tmp_path, program), tmp_path)


def test_a_missing_program_and_a_pattern_that_finds_nothing(tmp_path):
    trial = spec(tmp_path, "pass").model_dump(mode="json")
    trial["task"]["argv"] = ["no-such-program-of-ours"]
    with pytest.raises(CommandFailed, match="cannot start 'no-such-program-of-ours': No such file"):
        run(TrialSpec.model_validate(trial), tmp_path)
    with pytest.raises(BadReport, match="no line of the output fits the pattern of acc"):
        run(spec(tmp_path, "print('nothing')", metrics={"regex": {"acc": r"acc ([\d.]+)"}}), tmp_path)
    with pytest.raises(BadReport, match="found '-', which is no number"):
        run(spec(tmp_path, "print('acc -')", metrics={"regex": {"acc": r"acc (\S+)"}}), tmp_path)


def test_the_result_of_an_earlier_attempt_is_not_taken(tmp_path):
    work = tmp_path / "trial" / "work"
    run(spec(tmp_path, "open('out.json', 'w').write('{\"acc\": 1}')"), tmp_path)
    assert (work / "out.json").exists()
    with pytest.raises(BadReport, match=r"wrote no out\.json"):
        run(spec(tmp_path, "pass"), tmp_path)


def test_one_that_ignores_sigterm_ends_after_the_grace_period(tmp_path):
    program = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("epoch 1 acc 1", flush=True)
        time.sleep(60)
    """
    progress = {"regex": {"epoch": r"epoch (\d+)", "acc": r"acc (\d+)"}}
    began = time.monotonic()
    outcome, _ = run(spec(tmp_path, program, progress=progress), tmp_path, preempt=bool)
    assert outcome.status == "preempted"
    assert time.monotonic() - began < 20


def test_a_process_that_it_leaves_behind_is_ended(tmp_path):
    program = """
        import os, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open("pid", "w").write(str(child.pid))
        open("out.json", "w").write('{"acc": 1}')
    """
    run(spec(tmp_path, program), tmp_path)
    pid = int((tmp_path / "trial" / "work" / "pid").read_text())
    deadline = time.monotonic() + 10
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_alive(pid)


@pytest.mark.slow
def test_kill_9_of_the_trial_ends_the_program(tmp_path):
    trial = spec(tmp_path, "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)")
    (tmp_path / "trial.json").write_text(trial.model_dump_json())
    driver = f"""
        import sys
        from pathlib import Path
        from runners.training.distributed_trial import run_trial_in_processes
        from search_space import Resources, TrialSpec
        trial = TrialSpec.model_validate_json(Path({str(tmp_path / "trial.json")!r}).read_text())
        run_trial_in_processes(trial, report=lambda point: False, metric="acc",
                               resources=Resources(sweep_dir={str(tmp_path)!r}),
                               directory=Path({str(tmp_path / "t")!r}))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(driver)])
    try:
        pid_file = tmp_path / "t" / "work" / "pid"
        deadline = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.1)
        pid = int(pid_file.read_text())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 10
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_alive(pid)


def test_much_output_is_kept_and_read_in_pieces(tmp_path):
    program = """
        import sys
        for _ in range(40):
            sys.stdout.write("x" * 500_000 + "\\r")
        print("acc 3")
    """
    outcome, _ = run(spec(tmp_path, program, metrics={"regex": {"acc": r"acc (\d+)"}}), tmp_path)
    assert outcome.metrics == {"acc": 3.0}
    assert (tmp_path / "trial" / "train.log").stat().st_size > 20_000_000


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as status:
        return status.read().rpartition(")")[2].split()[0] != "Z"
