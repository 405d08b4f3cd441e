"""Checks of the software: Python, packages, GPUs with their driver, Ray, and whether the versions fit together."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement

from archsweep.own_packages import ROOT, child_command, shadowed
from runners.doctor.finding import Finding, Request
from runners.machine.gpus import GpuInfo, local_gpus

__all__ = [
    "Package",
    "TorchFacts",
    "check_gpus",
    "check_own_packages",
    "check_packages",
    "check_python",
    "check_ray",
    "judge_gpus",
    "judge_own_packages",
    "judge_packages",
]

_WATCHED = ("torch", "torchvision", "timm", "ray", "optuna")
# CUDA's major version -> the oldest driver that runs it, by NVIDIA's "CUDA Compatibility", minor version compatibility.
_OLDEST_DRIVER = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
_MIB_PER_GIB = 1024
_TAKEN_GIB = 1.0
_RAY_SECONDS = 120
_TORCH_SECONDS = 120
_ASK_TORCH = """
import json
import torch
seen = []
if torch.cuda.is_available():
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        seen.append((found.name, found.total_memory / 2**30, (found.major, found.minor)))
print(json.dumps([torch.version.cuda, torch.version.hip, torch.cuda.get_arch_list(), seen]))
"""
_START_RAY = """
import os
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
import runners.engines.nodes.cluster as own
import ray
with own.cluster(None):
    print("CPUs: %g, GPUs: %g" % (ray.cluster_resources().get("CPU", 0), ray.cluster_resources().get("GPU", 0)))
"""


@dataclass(frozen=True)
class Package:
    """An installed distribution and what it requires."""

    version: str
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class TorchFacts:
    """torch's build and the GPUs it finds: `cuda` or `hip` its version of CUDA or ROCm, both None for a CPU build;
    `archs` such as `sm_90`; the GPUs it sees, `(name, GiB, (major, minor))`."""

    cuda: str | None = None
    archs: tuple[str, ...] = ()
    gpus: tuple[tuple[str, float, tuple[int, int]], ...] = ()
    hip: str | None = None

    @property
    def platform(self) -> str:
        """`CUDA 13.0` or `ROCm 7.1`."""
        return f"ROCm {self.hip}" if self.hip else f"CUDA {self.cuda}"


def check_python(request: Request) -> Finding:
    return Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")


def check_packages(request: Request) -> Finding:
    names = {Requirement(line).name for line in importlib.metadata.requires("archsweep") or []} | set(_WATCHED)
    found = {}
    for name in ("archsweep", *sorted(names)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = Package(importlib.metadata.version(name), tuple(importlib.metadata.requires(name) or ()))
    return judge_packages(found)


def judge_packages(packages: Mapping[str, Package]) -> Finding:
    """Judge the versions by what archsweep declares, and what torchvision, timm, ray and optuna require of one another;
    extras are not asked for."""
    wrong = []
    for asker in ("archsweep", *_WATCHED):
        for line in packages[asker].requires if asker in packages else ():
            requirement = Requirement(line)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            if asker != "archsweep" and requirement.name not in _WATCHED:
                continue
            by = "" if asker == "archsweep" else f"{asker} {packages[asker].version}: "
            bounds = ",".join(sorted(str(requirement.specifier).split(","), key=lambda bound: bound[:1] == "<"))
            if requirement.name not in packages:
                wrong.append(f"{by}{requirement.name} is missing (needs {bounds or 'any version'})")
            elif not requirement.specifier.contains(packages[requirement.name].version, prereleases=True):
                wrong.append(f"{by}{requirement.name} {packages[requirement.name].version}, needs {bounds}")
    if wrong:
        return Finding("packages", "problem", "; ".join(wrong), "pip install -c constraints.txt archsweep")
    have = [f"{name} {packages[name].version}" for name in _WATCHED if name in packages]
    return Finding("packages", "ok", ", ".join(have))


def check_own_packages(request: Request) -> Finding:
    return judge_own_packages(shadowed())


def judge_own_packages(problems: Sequence[str]) -> Finding:
    """Judge archsweep's own packages: a user's package of the same name shadows one in some processes only."""
    if problems:
        return Finding("archsweep", "problem", "; ".join(problems), "`archsweep run` refuses to start until then")
    return Finding("archsweep", "ok", f"its packages are those in {ROOT}")


def check_gpus(request: Request) -> Finding:
    try:
        facts = _torch_facts()
    except (OSError, subprocess.SubprocessError, ValueError) as err:
        return Finding("gpus", "problem", f"torch does not say what it finds: {err}", "python -c 'import torch'")
    has_driver = shutil.which("nvidia-smi") is not None
    return judge_gpus(local_gpus(), facts, has_driver=has_driver, visible=os.environ.get("CUDA_VISIBLE_DEVICES"))


def _torch_facts() -> TorchFacts:
    """What torch finds, asked in a process of its own: CUDA takes memory of every GPU as long as its process lives."""
    environment = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as in trials
    done = subprocess.run(
        child_command(_ASK_TORCH), capture_output=True, text=True, timeout=_TORCH_SECONDS, check=True, env=environment
    )
    cuda, hip, archs, seen = json.loads(done.stdout.strip().splitlines()[-1])
    gpus = tuple((name, size, (major, minor)) for name, size, (major, minor) in seen)
    return TorchFacts(cuda, tuple(archs), gpus, hip)


def judge_gpus(here: Sequence[GpuInfo], torch: TorchFacts, *, has_driver: bool, visible: str | None) -> Finding:
    """Judge the GPUs. `here` are those of the driver, `visible` is CUDA_VISIBLE_DEVICES, None if it is not set."""
    name = "gpus"
    if torch.gpus:
        shown = ", ".join(f"{gpu} ({size:.0f} GiB)" for gpu, size, _ in torch.gpus)
        shown += (f", driver {here[0].driver}" if here else "") + f", {torch.platform}"
        return _warned(here, torch, shown, visible)
    if not has_driver:
        return Finding(name, "ok", "none; trials run on the CPU")
    if not here:
        text = "`nvidia-smi` is there and finds no GPU; trials would run on the CPU"
        return Finding(name, "warning", text, "call nvidia-smi; containers need --gpus all and the NVIDIA runtime")
    count = f"{len(here)} GPU{'s' if len(here) > 1 else ''} ({here[0].name}, driver {here[0].driver})"
    if torch.cuda is None:
        text = f"{count}, but this torch is {f'built for {torch.platform}' if torch.hip else 'a CPU build'}"
        return Finding(name, "problem", text, "install torch with CUDA: https://pytorch.org/get-started/locally")
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return Finding(name, "warning", f"{count}, hidden by CUDA_VISIBLE_DEVICES={visible!r}", "unset it to use them")
    text = f"{count}, but torch (CUDA {torch.cuda}) finds none"
    oldest = _OLDEST_DRIVER.get(int(torch.cuda.split(".")[0]))
    if oldest and _numbers(here[0].driver) < _numbers(oldest):
        remedy = f"CUDA {torch.cuda} needs a driver from {oldest} on: update it, or install torch for an older CUDA"
        return Finding(name, "problem", text, remedy)
    if visible:
        return Finding(name, "problem", f"{text}; CUDA_VISIBLE_DEVICES={visible}", "name what `nvidia-smi -L` shows")
    return Finding(name, "problem", text, "python -c 'import torch; torch.cuda.init()' says why")


def check_ray(request: Request) -> Finding:
    began = time.monotonic()
    try:
        done = subprocess.run(
            child_command(_START_RAY), capture_output=True, text=True, timeout=_RAY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        remedy = "a firewall on loopback, or a slow disk; `--engine in-process` needs no Ray"
        return Finding("ray", "problem", f"did not start within {_RAY_SECONDS} s", remedy)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding("ray", "problem", f"does not start: {last}", "`--engine in-process` needs no Ray")
    return Finding("ray", "ok", f"starts in {time.monotonic() - began:.0f} s; {done.stdout.strip().splitlines()[-1]}")


def _warned(here: Sequence[GpuInfo], torch: TorchFacts, shown: str, visible: str | None) -> Finding:
    """The finding for usable GPUs, with warnings."""
    for gpu, _, capability in torch.gpus:
        if torch.archs and torch.hip is None and not _has_kernels(torch.archs, capability):
            text = f"{gpu} (compute capability {capability[0]}.{capability[1]}): this torch has no kernels for it"
            return Finding("gpus", "problem", text, f"install a torch that has; this one: {', '.join(torch.archs)}")
    split = [gpu.index for gpu in here if gpu.is_split]
    if split and "MIG-" not in (visible or ""):
        text = f"{shown}; split by MIG: GPU {', '.join(split)}, of which CUDA gives a process one part only"
        remedy = "CUDA_VISIBLE_DEVICES=MIG-...,MIG-... by `nvidia-smi -L`, so that Ray counts the parts"
        return Finding("gpus", "warning", text, remedy)
    taken = [
        f"{gpu.used_mib / _MIB_PER_GIB:.0f} GiB of GPU {gpu.index}"
        for gpu in here
        if gpu.used_mib is not None and gpu.used_mib > _TAKEN_GIB * _MIB_PER_GIB
    ]
    if taken:
        text = f"{shown}; others use {', '.join(taken)}"
        return Finding("gpus", "warning", text, "nvidia-smi shows whose it is; CUDA_VISIBLE_DEVICES leaves a GPU out")
    if visible is None and len(here) > len(torch.gpus):
        text = f"{shown}; the driver has {len(here)}, torch finds {len(torch.gpus)}"
        return Finding("gpus", "warning", text, "nvidia-smi -q shows the state of the others")
    return Finding("gpus", "ok", f"{shown}; trials use none unless asked to: --gpus-per-trial 1")


def _has_kernels(archs: Sequence[str], capability: tuple[int, int]) -> bool:
    """Binary code runs on GPUs of its own major version from its minor version on, portable code on all later ones."""
    for arch in archs:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", arch)
        if found is None:
            continue
        built = int(found[2]), int(found[3])
        if built <= capability and (found[1] == "compute" or built[0] == capability[0]):
            return True
    return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
