"""Live view of a run from its files (`archsweep watch`): a running, an ended and a crashed run; GPUs; signals."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from results import (
    Failure,
    LedgerWriter,
    PlannedVariant,
    ProgressEvent,
    ProgressWriter,
    Run,
    RunPlan,
    TrialRecord,
    write_plan,
)
from results.views.pace import throughput
from runners.display.watch import watch
from runners.display.watch_layout import Screen, sparkline, view
from runners.machine.gpus import GpuInfo, GpuMonitor, local_gpus, parse_gpus, parse_instances, visible_gpus

ROOT = Path(__file__).parents[3]
NOW = 1_795_246_000.0
GPUS = parse_gpus(
    "0, GPU-5d6d1e3c-11, NVIDIA H200, 35943, 143771, 87, Disabled, 570.86.15\n"
    "1, GPU-7a7a1e3c-11, NVIDIA H200, [N/A], [N/A], [N/A], Enabled, 570.86.15\n"
)
HIDE_CURSOR, SHOW_CURSOR, OTHER_SCREEN = "\x1b[?25l", "\x1b[?25h", "\x1b[?1049h"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "_.-=+*#@"),
        ([7, 0], "@_"),
        ([5, 5, 5], "+++"),  # no range: half the height
        ([3], "+"),
        ([0, float("nan"), 7], "_ @"),
        ([float("inf")], " "),
        ([], ""),
    ],
)
def test_sparkline_by_hand(values, expected):
    assert sparkline(values, letters="_.-=+*#@") == expected


def test_a_long_curve_keeps_its_first_and_last_value():
    line = sparkline(list(range(1000)), width=10, letters="0123456789")
    assert len(line) == 10
    assert (line[0], line[-1]) == ("0", "9")


def event(t, kind):
    return ProgressEvent(t, "x", "baseline", 0, kind, {"epoch": 1} if kind == "epoch" else {})


def test_throughput_by_hand():
    """Two trials and six epochs in the last 600 s; events older than 15 minutes do not count."""
    events = [event(0, "end"), *(event(9400 + 100 * number, "epoch") for number in range(6))]
    events += [event(9500, "end"), event(9900, "end")]
    assert throughput(events, 10_000) == (2 * 3600 / 600, 6 * 60 / 600)
    assert throughput([], 10_000) == (0, 0)


def record(seed, status="completed", **fields):
    base = {
        "trial_id": f"t{seed}",
        "variant_id": "v",
        "variant": "baseline",
        "seed": seed,
        "spec": {},
        "status": status,
    }
    return TrialRecord.model_validate({**base, **fields})


@pytest.fixture
def run_dir(tmp_path):
    variant = PlannedVariant(name="baseline", variant_id="v", is_baseline=True)
    plan = RunPlan(sweep="watched", design="list", metric="top1", seeds=[0, 1, 2], variants=[variant], epochs=4)
    write_plan(tmp_path / "run", plan)
    return tmp_path / "run"


def shown(run_dir):
    stream = io.StringIO()
    watch(run_dir, Console(file=stream, width=100))
    return stream.getvalue()


def test_a_run_without_a_driver_is_shown_once(run_dir):
    failure = Failure(type="OutOfMemory", message="CUDA \x1b[31mout of memory\nmore")
    with LedgerWriter(run_dir) as ledger:
        ledger.append(record(0, metrics={"top1": 91.5}))
        ledger.append(record(1, "failed", failure=failure))
    text = shown(run_dir)
    assert "watched: 2 of 3 trials done (67 %)" in text
    assert "best so far: top1 91.5, baseline, seed 0" in text
    assert "driver: none at work; `archsweep run` with the same sweep continues" in text
    assert "failed: baseline, seed 1: OutOfMemory: CUDA \\x1b[31mout of memory\n" in text
    assert "pace" not in text


@pytest.fixture
def running(run_dir):
    """Run with two trials placed by this process, the driver, on half of GPU 0 each; one has two epochs."""
    with LedgerWriter(run_dir) as ledger, ProgressWriter(run_dir) as progress:
        for seed, name in enumerate(("baseline", "a variant whose name is long enough to be broken")):
            progress.append(ProgressEvent(NOW - 90, f"t{seed}", name, seed, "start"))
            progress.append(ProgressEvent(NOW - 80, f"t{seed}", name, seed, "place", worker="node7", gpus=("0",)))
        for epoch, top1 in ((1, 10.0), (2, 80.0)):
            progress.append(ProgressEvent(NOW - 30, "t0", "baseline", 0, "epoch", {"epoch": epoch, "top1": top1}))
        yield ledger


def seen(run_dir, width, **options):
    """Lines of the view on node7 at the time NOW, as plain text."""
    console = Console(file=io.StringIO(), width=width)
    screen = Screen(width, options.pop("height", None), has_unicode=True)
    console.print(view(Run.open(run_dir), screen, now=NOW, host="node7", **options))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def words(lines):
    return [" ".join(line.split()) for line in lines if line]


def test_running_trials_on_a_wide_terminal(run_dir, running):
    """Two epochs in 90 s; two of four epochs fill half of a bar of eight; 35943 MiB of 143771 fill two eighths."""
    assert words(seen(run_dir, 140, gpus=GPUS))[-8:] == [
        "pace: 1.33 epochs per minute",
        "GPUs in use: 1 (node7: 0)",
        "running seed epoch top1 curve for on",
        "baseline 0 \u2501\u2501\u2501\u2501 2/4 80 \u2581\u2588 2 min node7 GPU 0",
        "a variant whose name is long enough to be broken 1 0/4 2 min node7 GPU 0",
        "GPU here memory busy trials",
        "0 NVIDIA H200 \u2501\u2501 35.1/140 GiB 87 % "
        "baseline seed 0, a variant whose name is long enough to be broken seed 1",
        "1 NVIDIA H200",
    ]


def test_a_value_of_the_validation_split_has_its_own_name(run_dir):
    """It is what the pruner sees, but it is not the test metric of the table."""
    with LedgerWriter(run_dir) as ledger, ProgressWriter(run_dir) as progress:
        ledger.append(record(2, metrics={"top1": 91.5, "val_top1": 88.0}))
        progress.append(ProgressEvent(NOW - 90, "t0", "baseline", 0, "start"))
        point = {"epoch": 1, "top1": 90.0, "val_top1": 70.0}
        progress.append(ProgressEvent(NOW - 30, "t0", "baseline", 0, "epoch", point))
        lines = words(seen(run_dir, 140))
        assert lines[-2:] == ["running seed epoch val_top1 curve for", "baseline 0 \u2501\u2501 1/4 70 \u2585 2 min"]
        assert "best so far: val_top1 88, baseline, seed 2" in lines
        progress.append(ProgressEvent(NOW - 90, "t1", "other", 1, "start"))
        progress.append(ProgressEvent(NOW - 30, "t1", "other", 1, "epoch", {"epoch": 1, "top1": 60.0}))
        assert "running seed epoch top1 or val_top1 curve for" in words(seen(run_dir, 140))


def test_running_trials_on_forty_columns(run_dir, running):
    """Nothing is truncated: long text wraps to the next line."""
    lines = seen(run_dir, 40)
    assert max(map(len, lines)) <= 40
    assert lines[lines.index("running:") :] == [
        "running:",
        "baseline, seed 0, node7 GPU 0",
        "  \u2501\u2501\u2501\u2501     2/4 80 \u2581\u2588 2 min",
        "a variant whose name is long enough to",
        "be broken, seed 1, node7 GPU 0",
        "           0/4   2 min",
    ]


def test_more_trials_than_fit_on_the_screen_are_counted(run_dir, running):
    assert "and 1 more" not in seen(run_dir, 120)
    with ProgressWriter(run_dir) as progress:
        for number in range(2, 10):
            progress.append(ProgressEvent(NOW, f"t{number}", "baseline", number, "start"))
    assert "and 5 more" in seen(run_dir, 120, height=10)


def test_a_killed_driver_is_distinguished_from_one_that_ended(run_dir):
    """An orderly driver records an end event for every trial."""
    with ProgressWriter(run_dir) as progress:
        progress.append(ProgressEvent(NOW - 500, "t0", "baseline", 0, "start"))
        progress.append(ProgressEvent(NOW - 180, "t0", "baseline", 0, "epoch", {"epoch": 1, "top1": 10.0}))
    lines = seen(run_dir, 100)
    assert "  the driver died while 1 trial was running; its last progress event is 3 min old" in lines
    assert words(lines)[-2:] == [
        "interrupted seed epoch top1 curve after",
        "baseline 0 \u2501\u2501 1/4 10 \u2585 5 min",
    ]
    with ProgressWriter(run_dir) as progress:
        progress.append(ProgressEvent(NOW - 180, "t0", "baseline", 0, "end"))
    text = "\n".join(seen(run_dir, 100))
    assert "1 interrupted" in text
    assert "died" not in text


def test_watching_changes_nothing(run_dir):
    """The view only reads: no file of the run directory is modified."""
    with LedgerWriter(run_dir) as ledger:
        ledger.append(record(0, metrics={"top1": 91.5}))
    before = {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in run_dir.iterdir()}
    shown(run_dir)
    assert {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in run_dir.iterdir()} == before


@pytest.mark.parametrize("no_color", [False, True])
def test_no_color_disables_colours(run_dir, no_color):
    with LedgerWriter(run_dir) as ledger:
        ledger.append(record(1, "failed", failure=Failure(type="E", message="m")))
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True, color_system="standard", no_color=no_color)
    watch(run_dir, console, once=True)
    assert ("\x1b[31mfailed" in stream.getvalue()) is not no_color


def test_gpus_are_parsed_from_the_output_of_nvidia_smi():
    """A GPU split by MIG reports no utilisation; a machine without GPUs prints a message instead of rows."""
    text = (
        "0, GPU-5d6d1e3c-11, NVIDIA H200, 35840, 143771, 87, Disabled, 570.86.15\n"
        "1, GPU-7a7a1e3c-11, NVIDIA H100, [N/A], [N/A], [N/A], Enabled, 570.86.15\n"
    )
    assert parse_gpus(text) == (
        GpuInfo("0", "GPU-5d6d1e3c-11", "NVIDIA H200", 35840, 143771, 87, False, "570.86.15"),
        GpuInfo("1", "GPU-7a7a1e3c-11", "NVIDIA H100", None, None, None, True, "570.86.15"),
    )
    assert parse_gpus("No devices were found\n") == ()


MIG_LIST = """\
GPU 0: NVIDIA H200 (UUID: GPU-5d6d1e3c-11)
GPU 1: NVIDIA H100 (UUID: GPU-7a7a1e3c-11)
  MIG 3g.40gb     Device  0: (UUID: MIG-c7384736-a75d)
  MIG 1g.10gb     Device  1: (UUID: MIG-GPU-7a7a1e3c-11/9/0)
GPU 2: NVIDIA H100 (UUID: GPU-9b9b1e3c-11)
  MIG 7g.80gb     Device  0: (UUID: MIG-f1f1a2b3-c4d5)
"""


def test_instances_of_split_gpus_are_listed_by_gpu():
    assert parse_instances(MIG_LIST) == {
        "GPU-5d6d1e3c-11": (),
        "GPU-7a7a1e3c-11": ("MIG-c7384736-a75d", "MIG-GPU-7a7a1e3c-11/9/0"),
        "GPU-9b9b1e3c-11": ("MIG-f1f1a2b3-c4d5",),
    }


def test_a_trial_on_an_instance_is_shown_at_its_gpu(run_dir, running, monkeypatch, tmp_path):
    """`nvidia-smi` names the instances by a second query; the older form of an id names its GPU itself."""
    (tmp_path / "list").write_text(MIG_LIST)
    (tmp_path / "query").write_text(
        "0, GPU-5d6d1e3c-11, NVIDIA H200, 35943, 143771, 87, Disabled, 570.86.15\n"
        "1, GPU-7a7a1e3c-11, NVIDIA H100, [N/A], [N/A], [N/A], Enabled, 570.86.15\n"
        "2, GPU-9b9b1e3c-11, NVIDIA H100, [N/A], [N/A], [N/A], Enabled, 570.86.15\n"
    )
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && exec cat {tmp_path}/list\nexec cat {tmp_path}/query\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    with ProgressWriter(run_dir) as progress:
        for seed, name in ((0, "MIG-f1f1a2b3-c4d5"), (1, "MIG-GPU-7a7a1e3c-11/9/0")):
            event = ProgressEvent(NOW - 70, f"t{seed}", "baseline", seed, "place", worker="node7", gpus=(name,))
            progress.append(event)
    assert words(seen(run_dir, 200, gpus=local_gpus()))[-3:] == [
        "0 NVIDIA H200 \u2501\u2501 35.1/140 GiB 87 %",
        "1 NVIDIA H100 a variant whose name is long enough to be broken seed 1",
        "2 NVIDIA H100 baseline seed 0",
    ]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("2,0", ["2", "0"]),
        ("0,7,1", ["0"]),  # as CUDA does: nothing from the first unknown name on
        ("GPU-7a7a", ["1"]),
        ("MIG-c7384736-a75d,MIG-GPU-7a7a1e3c-11/9/0", ["1", "1"]),
    ],
)
def test_visible_gpus_are_those_of_the_variable(visible, expected, monkeypatch, tmp_path):
    rows = (f"{i}, {uuid}, NVIDIA H100, 1, 2, 3, {mig}, 570" for i, uuid, mig in (
        (0, "GPU-5d6d1e3c-11", "Disabled"), (1, "GPU-7a7a1e3c-11", "Enabled"), (2, "GPU-9b9b1e3c-11", "Enabled"),
    ))  # fmt: skip
    (tmp_path / "query").write_text("\n".join(rows))
    (tmp_path / "list").write_text(MIG_LIST)
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && exec cat {tmp_path}/list\nexec cat {tmp_path}/query\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.index for gpu in visible_gpus()] == expected


def test_a_gpu_is_identified_by_its_number_or_uuid():
    gpu = parse_gpus("1, GPU-5d6d1e3c-11, NVIDIA H200, 1, 2, 3, Disabled, 570\n")[0]
    assert [gpu.is_called(name) for name in ("1", "GPU-5d6d", "0", "11", "MIG-5d6d", "")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 0, GPU-1, NVIDIA H200, 1, 2, 3, Disabled, 570", ["NVIDIA H200"]),
        ("echo NVIDIA-SMI has failed; exit 9", []),
    ],
)
def test_nvidia_smi_is_queried_and_may_fail(tmp_path, monkeypatch, script, expected):
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert [gpu.name for gpu in local_gpus()] == expected


def test_the_live_view_gets_the_gpus_when_nvidia_smi_has_finished(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 0, GPU-1, NVIDIA H200, 1, 2, 3, Disabled, 570\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monitor, deadline = GpuMonitor(), time.monotonic() + 300
    while not (found := monitor.look()):
        assert time.monotonic() < deadline
    assert [gpu.name for gpu in found] == ["NVIDIA H200"]
    assert monitor.look() == found  # until the next query


def test_the_live_view_does_not_wait_for_nvidia_smi(tmp_path, monkeypatch):
    """`nvidia-smi` blocks here: it reads a pipe without a writer."""
    os.mkfifo(tmp_path / "never")
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nexec cat {tmp_path / 'never'}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monitor = GpuMonitor()
    assert [monitor.look(), monitor.look()] == [(), ()]
    monitor.close()
    assert monitor.look() == ()


def read_until(master, wanted, process):
    text, deadline = "", time.monotonic() + 300
    while wanted not in text:
        assert time.monotonic() < deadline, text
        assert process.poll() is None, text
        if select.select([master], [], [], 0.2)[0]:
            text += os.read(master, 65536).decode(errors="replace")
    return text


def read_rest(master):
    text = ""
    while select.select([master], [], [], 0)[0]:
        text += os.read(master, 65536).decode(errors="replace")
    return text


@pytest.mark.default_run("2-0")
@pytest.mark.thorough
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_on_a_terminal_it_follows_the_run_and_a_signal_ends_only_the_view(run_dir, number, code):
    """This process is the driver. Ctrl-C is the usual way to end the view, so its exit code is 0."""
    master, slave = pty.openpty()
    with LedgerWriter(run_dir) as ledger:
        process = subprocess.Popen(
            [sys.executable, "-m", "runners.cli", "watch", str(run_dir)],
            stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        try:
            text = read_until(master, "0 of 3 trials done", process)
            assert HIDE_CURSOR in text
            assert OTHER_SCREEN not in text
            ledger.append(record(0, metrics={"top1": 91.5}))
            read_until(master, "1 of 3 trials done", process)
            process.send_signal(number)
            assert process.wait(timeout=300) == code
            left = read_rest(master)
            assert HIDE_CURSOR not in left
            assert SHOW_CURSOR in left
        finally:
            process.kill()
            os.close(slave)
            os.close(master)
        ledger.append(record(1, metrics={"top1": 92.5}))  # the run continues
    assert "2 of 3 trials done" in shown(run_dir)
