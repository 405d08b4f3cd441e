"""Findings of `archsweep doctor` from given facts, also of machines that are not at hand."""

from __future__ import annotations

import pytest

from runners.doctor.machine import (
    CpuFacts,
    judge_cpus,
    judge_memory,
    judge_shared_memory,
    judge_threads,
)
from runners.doctor.places import (
    FileSystemFacts,
    PlaceFacts,
    judge_disk,
    judge_file_system,
)
from runners.doctor.software import Package, TorchFacts, judge_gpus, judge_packages
from runners.machine.cgroups import Limits, read_limits
from runners.machine.gpus import GpuInfo

GIB = 2**30
V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def parts(finding):
    return [finding.state, finding.text, *([finding.remedy] if finding.remedy else [])]


def write(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{text}\n")


def test_the_tightest_of_nested_groups_limits_version_2(tmp_path):
    """A job of two CPUs in a slice of eight; the slice has less memory left than the job may take."""
    top = "sys/fs/cgroup/slurm"
    write(tmp_path, {
        f"{top}/cpu.max": "800000 100000",
        f"{top}/job/cpu.max": "200000 100000",
        f"{top}/job/step/cpu.max": "max 100000",
        f"{top}/memory.max": 32 * GIB,
        f"{top}/memory.current": 31 * GIB,
        f"{top}/memory.stat": f"anon 7\ninactive_file {2 * GIB}",
        f"{top}/job/memory.max": 16 * GIB,
        f"{top}/job/memory.current": 4 * GIB,
        f"{top}/job/memory.stat": "anon 7\ninactive_file 0",
    })  # fmt: skip
    found = read_limits("0::/slurm/job/step\n", V2_MOUNT, root=tmp_path)
    assert found == Limits(cpus=2, memory=16 * GIB, memory_left=3 * GIB)


def test_each_resource_has_its_own_tree_in_version_1(tmp_path):
    mounts = (
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    )
    write(tmp_path, {
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": 150000,
        "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": 100000,
        "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": -1,
        "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": 100000,
        "sys/fs/cgroup/memory/c/memory.limit_in_bytes": 8 * GIB,
        "sys/fs/cgroup/memory/c/memory.usage_in_bytes": 6 * GIB,
        "sys/fs/cgroup/memory/c/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB}",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,
    })  # fmt: skip
    groups = "4:memory:/c\n2:cpu,cpuacct:/a/b\n1:name=systemd:/a\n0::/\n"
    assert read_limits(groups, mounts, root=tmp_path) == Limits(cpus=1.5, memory=8 * GIB, memory_left=3 * GIB)


def test_a_container_whose_group_is_named_from_the_root_of_its_host(tmp_path):
    """Docker without a cgroup namespace: the tree is mounted from the container's group on."""
    mounts = "31 23 0:28 /docker/4f /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    write(tmp_path, {"sys/fs/cgroup/cpu.max": "400000 100000", "sys/fs/cgroup/in/cpu.max": "300000 100000"})
    assert read_limits("0::/docker/4f\n", mounts, root=tmp_path) == Limits(cpus=4)
    assert read_limits("0::/docker/4f/in\n", mounts, root=tmp_path) == Limits(cpus=3)


def test_no_groups_no_limits(tmp_path):
    assert read_limits("0::/\n", V2_MOUNT, root=tmp_path) == Limits()
    assert read_limits("", "", root=tmp_path) == Limits()


SHARED = "--set resources.max_concurrent=2, or trials wait for each other"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (CpuFacts(8, 8), ["ok", "8"]),
        (CpuFacts(8, 2), ["ok", "2 of 8"]),
        (CpuFacts(8, 8, 8.0), ["ok", "8"]),
        (CpuFacts(64, 64, 2.5), ["warning", "64 CPUs are visible, the control group grants 2.5", SHARED]),
    ],
)
def test_cpus(facts, expected):
    assert parts(judge_cpus(facts)) == expected


TOO_MANY = "OMP_NUM_THREADS=16, but a trial has 1 CPU"
BOUND = "OMP_PROC_BIND=close: every trial may be bound to the same CPUs"


@pytest.mark.parametrize(
    ("environment", "cpus", "expected"),
    [
        ({}, 1, ["ok", "1 per trial"]),
        ({}, 0.5, ["ok", "1 per trial"]),
        ({"OMP_NUM_THREADS": "4"}, 4, ["ok", "4 per trial, OMP_NUM_THREADS=4"]),
        ({"OMP_NUM_THREADS": "16"}, 1, ["warning", TOO_MANY, "unset it, or export OMP_NUM_THREADS=1"]),
        ({"OMP_NUM_THREADS": "1", "OMP_PROC_BIND": "close"}, 1, ["warning", BOUND, "unset OMP_PROC_BIND"]),
        ({"OMP_PROC_BIND": "false"}, 2, ["ok", "2 per trial"]),
    ],
)
def test_threads(environment, cpus, expected):
    assert parts(judge_threads(environment, cpus)) == expected


GRANTED = "3.00 GiB available of the 8.00 GiB that the control group grants"
FEWER = "a worker with torch takes about 0.7 GiB: fewer trials at a time"


@pytest.mark.parametrize(
    ("available", "limits", "expected"),
    [
        (None, Limits(), ["ok", "not reported by this system"]),
        (64 * GIB, Limits(), ["ok", "64 GiB available"]),
        (
            64 * GIB,
            Limits(memory=8 * GIB, memory_left=3 * GIB),
            ["warning", GRANTED, "with 4 CPUs, --set resources.max_concurrent=3"],
        ),
        (GIB, Limits(memory=8 * GIB, memory_left=6 * GIB), ["warning", "1.00 GiB available", FEWER]),
    ],
)
def test_memory(available, limits, expected):
    assert parts(judge_memory(available, limits, cpus=4)) == expected


SLOW = "0.06 GiB of 0.06 GiB free; Ray then uses a disk"
BUS = "0.50 GiB of 24 GiB free; with resources.num_workers, loading large images may end in `Bus error`"


@pytest.mark.parametrize(
    ("free", "total", "expected"),
    [
        (None, None, ["ok", "not used on this system"]),
        (12 * GIB, 24 * GIB, ["ok", "12 GiB of 24 GiB free"]),
        # What Docker gives.
        (64 * 2**20, 64 * 2**20, ["warning", SLOW, "docker run --shm-size=2g or --ipc=host"]),
        (GIB / 2, 24 * GIB, ["warning", BUS, "delete unused files from /dev/shm"]),
    ],
)
def test_shared_memory(free, total, expected):
    assert parts(judge_shared_memory(free, total)) == expected


LACKING = "free some; Ray stops at 95 % of its disk; ARCHSWEEP_CACHE=off does without the cache"
ROOMY = PlaceFacts("run directory", "/data", 50 * GIB, 100 * GIB, 10**6)
ALMOST_FULL = PlaceFacts("Ray", "/tmp", 4 * GIB, 100 * GIB)
FULL = PlaceFacts("run directory", "/data", GIB / 4, 100 * GIB, 10**6)
READ_ONLY_CACHE = PlaceFacts("cache", "/cache", error="Read-only file system")
NO_INODES = PlaceFacts("run directory", "/data", 50 * GIB, 100 * GIB, 7)
FORBIDDEN = PlaceFacts("run directory", "/data", error="Permission denied")
BOTH = "/cache: cannot write: Read-only file system; 0.25 GiB free in /data (run directory)"


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([ROOMY], ["ok", "50 GiB free in /data"]),
        ([ROOMY, ALMOST_FULL], ["warning", "/tmp (Ray) is 96 % full", LACKING]),
        ([FULL, READ_ONLY_CACHE], ["warning", BOTH, LACKING]),
        ([NO_INODES], ["warning", "7 more files fit into /data (run directory)", LACKING]),
        ([FORBIDDEN, FULL], ["problem", "/data: cannot write: Permission denied", "run elsewhere, or --out DIR"]),
    ],
)
def test_disk(places, expected):
    assert parts(judge_disk(places)) == expected


ELSEWHERE = "choose a local folder or a shared POSIX file system with --out"
WITH_LOCKS = f"mount it with locks (Lustre: -o flock, NFS: without nolock), or {ELSEWHERE}"
TWICE = "/data: two processes got the same lock, so two drivers could write into one run"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ["ok", "/data: locks hold"]),
        ({"lock_error": "Not implemented"}, ["problem", "/data: no locks: Not implemented", WITH_LOCKS]),
        ({"is_exclusive": False}, ["problem", TWICE, ELSEWHERE]),
        ({"warning": "NFS mounted with nolock"}, ["warning", "NFS mounted with nolock", ELSEWHERE]),
        ({"refusal": "object storage"}, ["problem", "object storage", ELSEWHERE]),
    ],
)
def test_file_system(facts, expected):
    assert parts(judge_file_system(FileSystemFacts("/data", **facts))) == expected


PACKAGES = {
    "archsweep": Package("0.1.0", ("torch>=2.8", "timm<1.1,>=1.0.31", "optuna>=4.5", "pytest>=8; extra == 'test'")),
    "torch": Package("2.15.0+cu130"),
    "torchvision": Package("0.29.2", ("numpy", "torch==2.15.0")),
    "timm": Package("1.0.31", ("torch", "torchvision", "pyyaml")),
    "optuna": Package("5.0.0"),
}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"timm": Package("1.1.0")}, "timm 1.1.0, needs >=1.0.31,<1.1"),
        ({"optuna": None}, "optuna is missing (needs >=4.5)"),
        ({"torchvision": None}, "timm 1.0.31: torchvision is missing (needs any version)"),
        ({"torch": Package("2.7.1")}, "torch 2.7.1, needs >=2.8; torchvision 0.29.2: torch 2.7.1, needs ==2.15.0"),
    ],
)
def test_packages_that_do_not_fit(changed, problem):
    packages = {name: package for name, package in {**PACKAGES, **changed}.items() if package is not None}
    assert parts(judge_packages(packages)) == ["problem", problem, "pip install -c constraints.txt archsweep"]


def test_packages_that_fit():
    versions = "torch 2.15.0+cu130, torchvision 0.29.2, timm 1.0.31, optuna 5.0.0"
    assert parts(judge_packages(PACKAGES)) == ["ok", versions]


H200 = GpuInfo("0", "GPU-1", "NVIDIA H200", 500, 143771, 0, False, "580.82.07")
OLD_DRIVER = GpuInfo("0", "GPU-1", "NVIDIA A100", 500, 40960, 0, False, "570.86.15")
SPLIT = GpuInfo("0", "GPU-1", "NVIDIA H100", None, None, None, True, "580.82.07")
BUSY = GpuInfo("0", "GPU-1", "NVIDIA H200", 51200, 143771, 97, False, "580.82.07")
ARCHS = ("sm_80", "sm_90", "sm_100")
CPU_BUILD, BLIND = TorchFacts(), TorchFacts("13.0", ARCHS)
SEES_H200 = TorchFacts("13.0", ARCHS, (("NVIDIA H200", 139.7, (9, 0)),))
SEES_V100 = TorchFacts("13.0", ARCHS, (("Tesla V100", 16.0, (7, 0)),))
SEES_NEWER = TorchFacts("13.0", (*ARCHS, "compute_100"), (("NVIDIA X", 16.0, (12, 0)),))
SEES_MI300X = TorchFacts(None, ("gfx942",), (("AMD Instinct MI300X", 191.7, (9, 4)),), "7.1.25424")
UNUSED = "; trials use none unless asked to: --gpus-per-trial 1"
ONE = "1 GPU (NVIDIA H200, driver 580.82.07)"


@pytest.mark.parametrize(
    ("here", "torch", "visible", "expected"),
    [
        (None, CPU_BUILD, None, ["ok", "none; trials run on the CPU"]),
        ([H200], SEES_H200, None, ["ok", f"NVIDIA H200 (140 GiB), driver 580.82.07, CUDA 13.0{UNUSED}"]),
        ([], SEES_NEWER, None, ["ok", f"NVIDIA X (16 GiB), CUDA 13.0{UNUSED}"]),
        (None, SEES_MI300X, None, ["ok", f"AMD Instinct MI300X (192 GiB), ROCm 7.1.25424{UNUSED}"]),
        (None, TorchFacts(None, (), (), "7.1.25424"), None, ["ok", "none; trials run on the CPU"]),
        (
            [H200],
            TorchFacts(None, ("gfx942",), (), "7.1.25424"),
            None,
            [
                "problem",
                f"{ONE}, but this torch is built for ROCm 7.1.25424",
                "install torch with CUDA: https://pytorch.org/get-started/locally",
            ],
        ),
        (
            [],
            BLIND,
            None,
            [
                "warning",
                "`nvidia-smi` is there and finds no GPU; trials would run on the CPU",
                "call nvidia-smi; containers need --gpus all and the NVIDIA runtime",
            ],
        ),
        (
            [H200, H200],
            CPU_BUILD,
            None,
            [
                "problem",
                "2 GPUs (NVIDIA H200, driver 580.82.07), but this torch is a CPU build",
                "install torch with CUDA: https://pytorch.org/get-started/locally",
            ],
        ),
        ([H200], BLIND, "", ["warning", f"{ONE}, hidden by CUDA_VISIBLE_DEVICES=''", "unset it to use them"]),
        (
            [OLD_DRIVER],
            BLIND,
            None,
            [
                "problem",
                "1 GPU (NVIDIA A100, driver 570.86.15), but torch (CUDA 13.0) finds none",
                "CUDA 13.0 needs a driver from 580.65.06 on: update it, or install torch for an older CUDA",
            ],
        ),
        (
            [H200],
            BLIND,
            "7",
            [
                "problem",
                f"{ONE}, but torch (CUDA 13.0) finds none; CUDA_VISIBLE_DEVICES=7",
                "name what `nvidia-smi -L` shows",
            ],
        ),
        (
            [H200],
            SEES_V100,
            None,
            [
                "problem",
                "Tesla V100 (compute capability 7.0): this torch has no kernels for it",
                "install a torch that has; this one: sm_80, sm_90, sm_100",
            ],
        ),
        (
            [SPLIT],
            SEES_H200,
            None,
            [
                "warning",
                "NVIDIA H200 (140 GiB), driver 580.82.07, CUDA 13.0; "
                "split by MIG: GPU 0, of which CUDA gives a process one part only",
                "CUDA_VISIBLE_DEVICES=MIG-...,MIG-... by `nvidia-smi -L`, so that Ray counts the parts",
            ],
        ),
        ([SPLIT], SEES_H200, "MIG-1,MIG-2", ["ok", f"NVIDIA H200 (140 GiB), driver 580.82.07, CUDA 13.0{UNUSED}"]),
        (
            [BUSY],
            SEES_H200,
            None,
            [
                "warning",
                "NVIDIA H200 (140 GiB), driver 580.82.07, CUDA 13.0; others use 50 GiB of GPU 0",
                "nvidia-smi shows whose it is; CUDA_VISIBLE_DEVICES leaves a GPU out",
            ],
        ),
        (
            [H200, H200],
            SEES_H200,
            None,
            [
                "warning",
                "NVIDIA H200 (140 GiB), driver 580.82.07, CUDA 13.0; the driver has 2, torch finds 1",
                "nvidia-smi -q shows the state of the others",
            ],
        ),
    ],
)
def test_gpus(here, torch, visible, expected):
    assert parts(judge_gpus(here or [], torch, has_driver=here is not None, visible=visible)) == expected
