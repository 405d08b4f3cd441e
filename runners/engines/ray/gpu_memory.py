"""GPU shares by memory: a trial gets the share of a GPU that its measured peak memory needs.

Ray counts fractions of GPUs, not memory. A share is the peak and a CUDA context over the GPU's memory, rounded up to a
twentieth (few distinct shares let workers be used again); each trial is held to its share (in
`runners.engines.ray.trial_process`), so that one which needs more than was measured fails by itself, without taking its
neighbours along, and is then run again alone. So is one whose share was given (`gpus: 0.25`).
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from results.store.files import atomic_write
from results.store.run_layout import RunDir
from runners.engines.nodes.capacity import Node
from runners.machine.gpus import local_gpus
from runners.planning.gpu_share import allocator_fraction, share_of
from runners.planning.history import duration_key
from runners.planning.peak_memory import free_unused
from runners.planning.plan import Plan
from runners.planning.profiling import activation_mib, probe_trial, training_mib
from runners.trials.assignment import Assignment
from runners.trials.out_of_memory import lack_of_memory
from search_space import Problem, Resources, Setting, SpecError, Variant
from search_space.plugins import load_shipped, shipped_plugins

__all__ = ["DECLARED", "GpuShares", "check_shares", "peaks_on_gpu", "smallest_gpu"]

DECLARED = "gpu_memory_gib"
"""The Ray resource by which a node may declare the memory of each of its GPUs, where no GPU is there to be asked."""
_GIB, _MIB_PER_GIB = 2**30, 1024
_PATIENCE_SECONDS = 600.0
"""How long a GPU is waited for, and then each measurement: others may train on the cluster."""
_SAY_AFTER_SECONDS = 20.0
_LOOK_EVERY_SECONDS = 0.5


def check_shares(kinds: Iterable[Resources], nodes: Iterable[Node]) -> None:
    """Refuse shares of a GPU, as written in the sweep, that have no room beside a CUDA context.

    On the GPUs of this machine and those whose memory is declared; elsewhere the trial itself fails with the same text.

    Raises:
        SpecError: states the share, the GPU and how much to give.
    """
    shares = sorted({kind.num_gpus for kind in kinds if kind.gpu_memory is None and 0 < kind.num_gpus < 1})
    if not shares:
        return
    sizes = [size for node in nodes if (size := node.total.get(DECLARED))]
    sizes += [gpu.total_mib / _MIB_PER_GIB for gpu in local_gpus() if gpu.total_mib]
    for share in shares if sizes else ():
        allocator_fraction(share, min(sizes))


def smallest_gpu(nodes: Iterable[Node], *, is_stopping: Callable[[], bool] = lambda: False) -> float:
    """GiB of the smallest GPU of the connected cluster; infinite where the run is to stop before all are known.

    Raises:
        SpecError: the GPU memory of a node is known neither from its GPUs nor from the resource `gpu_memory_gib`, or
            its GPUs are in use.
    """
    sizes, silent = [], []
    for node in nodes:
        if node.total.get("GPU", 0.0) <= 0:
            continue
        size = node.total.get(DECLARED) or _ask_gpu(node, is_stopping)
        (sizes if size else silent).append(size or node.host)
    if silent or not sizes:
        who = f"no GPU answers on {', '.join(sorted(set(silent)))}" if silent else "the cluster has no GPU"
        hint = "give `resources.gpus` instead, or start the node with --resources='{\"gpu_memory_gib\": 80}'"
        raise SpecError(Problem(f"{who}, so its memory is not known", path="resources.gpu_memory", hint=hint))
    return min(sizes)


class GpuShares:
    """The share of every trial of a plan.

    With `gpu_memory: auto` the peak is measured by a few training steps on a free GPU of the cluster, once per variant
    and never twice in a run (`gpu_memory.json`); where nodes only declare GPUs it is estimated from what autograd
    keeps. A variant whose probe runs out of memory gets a whole GPU.

    Args:
        is_stopping: once it is true, nothing more is measured, and what is not known gets a whole GPU.

    Raises:
        SpecError: the memory of the GPUs is not known, or no GPU becomes free to measure on.
    """

    def __init__(
        self, plan: Plan, run_dir: RunDir, nodes: Sequence[Node], *, is_stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._plan = plan
        self._is_stopping = is_stopping
        self._path = run_dir.gpu_memory
        self._total = smallest_gpu(nodes, is_stopping=is_stopping)
        self._is_real = not any(DECLARED in node.total for node in nodes)
        self._peaks: dict[str, float] = _read(self._path)
        self._measure([each for each in plan.variants if plan.resources_of(each).gpu_memory == "auto"])

    def __call__(self, assignment: Assignment) -> float:
        """GPUs of this trial."""
        given = self._plan.resources_of(assignment.variant).gpu_memory
        assert given is not None
        if not isinstance(given, str):
            return share_of(given, self._total)
        key = _key(assignment.variant.setting)
        if key not in self._peaks:  # a search proposes as it goes
            self._measure([assignment.variant])
        return share_of(self._peaks.get(key, math.inf), self._total)

    def _measure(self, variants: Sequence[Variant]) -> None:
        missing = {_key(variant.setting): variant for variant in variants}
        missing = {key: variant for key, variant in missing.items() if key not in self._peaks}
        if not missing:
            return
        if self._is_real:
            settings = [variant.setting for variant in missing.values()]
            resources = self._plan.resources_of(next(iter(missing.values())))
            measured = peaks_on_gpu(settings, resources, is_stopping=self._is_stopping)
        else:
            measured = map(self._estimate, missing.values())
        for key, peak in zip(missing, measured, strict=False):  # fewer where the run is to stop
            self._peaks[key] = peak
            atomic_write(self._path, json.dumps(self._peaks, indent=1) + "\n")

    def _estimate(self, variant: Variant) -> float:
        params_m = self._plan.cost_of(variant)["params_m"]
        activation = activation_mib(variant.setting, self._plan.dataset_of(variant))
        return training_mib(variant.setting, params_m=params_m, activation=activation) / _MIB_PER_GIB


def peaks_on_gpu(
    settings: Sequence[Setting],
    resources: Resources,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
    patience: float = _PATIENCE_SECONDS,
) -> Iterator[float]:
    """Peak GiB of each of these trainings on a GPU of the cluster, one by one; infinite where one is too small.

    Ends early once `is_stopping`.

    Args:
        patience: seconds to wait for a free GPU, and then for each measurement.

    Raises:
        SpecError: no whole GPU was free for so long, or a measurement took longer.
    """
    values = [each.model_dump_json() for each in settings]
    plugins = shipped_plugins()
    answers: Any = _measured_peaks.remote(values, resources.model_dump_json(), plugins)
    try:
        for number in range(len(settings) + 1):  # the first answer says that it has a GPU
            subject = "a GPU that is free as a whole" if number == 0 else f"measurement {number} of {len(settings)}"
            if not _await(answers, subject, is_stopping, patience):
                return
            answer: Any = ray.get(next(answers))
            if number:
                yield answer
    finally:
        ray.cancel(answers, force=True)


def _await(answers: Any, subject: str, is_stopping: Callable[[], bool], patience: float) -> bool:
    """Wait for the next answer; False if the run is to stop meanwhile.

    Raises:
        SpecError: there is none after `patience` seconds.
    """
    start = time.monotonic()
    has_said = False
    while not ray.wait([answers], timeout=_LOOK_EVERY_SECONDS)[0]:
        waited = time.monotonic() - start
        if is_stopping():
            return False
        if waited > patience:
            text = f"waited {patience:.0f} s for {subject}, to measure the memory of the variants (`gpu_memory: auto`)"
            hint = "free a GPU, or give gpu_memory in GiB or resources.gpus instead; what was measured is kept"
            raise SpecError(Problem(text, path="resources.gpu_memory", hint=hint))
        if waited > _SAY_AFTER_SECONDS and not has_said:
            has_said = True
            # While trials run, stdout and stderr belong to `driver.log`; this is for the person at the terminal.
            print(
                f"archsweep: waiting for {subject}, to measure the memory of the variants (`gpu_memory: auto`), "
                f"{patience / 60:.0f} min at most",
                file=sys.__stderr__,
                flush=True,
            )
    return True


def _key(setting: Setting) -> str:
    return duration_key(setting.model_dump(mode="json"))


def _read(path: Path) -> dict[str, float]:
    """Peaks that earlier starts measured; any other content is measured again."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: gib for key, gib in found.items() if isinstance(gib, float)} if isinstance(found, dict) else {}


def _ask_gpu(node: Node, is_stopping: Callable[[], bool]) -> float | None:
    here = NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
    answer = _gpu_gib.options(scheduling_strategy=here).remote()
    is_answered = _await(answer, f"a part of a GPU of {node.host}", is_stopping, _PATIENCE_SECONDS)
    return ray.get(answer) if is_answered else math.inf


# `max_calls`: a process that stays would keep its CUDA context, and with it memory that trials were promised.
@ray.remote(num_cpus=0, num_gpus=0.01, max_calls=1)
def _gpu_gib() -> float | None:
    import torch

    return torch.cuda.get_device_properties(0).total_memory / _GIB if torch.cuda.is_available() else None


@ray.remote(num_cpus=0, num_gpus=1, max_calls=1)
def _measured_peaks(settings: list[str], resources: str, plugins: list[dict[str, Any]]) -> Iterator[float]:
    """Zero once there is a GPU; then the peak GiB of each of these trainings, infinite where the GPU is too small."""
    yield 0.0
    load_shipped(plugins)
    for setting in settings:
        yield _peak(Setting.model_validate_json(setting), Resources.model_validate_json(resources))
        free_unused()


def _peak(setting: Setting, resources: Resources) -> float:
    try:
        probe = probe_trial(setting, resources, max_seconds=1.0)
    except Exception as err:
        if lack_of_memory(err) is None:
            raise
        return math.inf
    assert probe.peak_mib is not None, "measured on a GPU"
    return probe.peak_mib / _MIB_PER_GIB
