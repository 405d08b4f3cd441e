"""GPU shares by memory: a trial gets the share of a GPU that its measured peak memory needs.

Ray counts fractions of GPUs, not memory. A share is the peak over the GPU's memory, rounded up to a
twentieth (few distinct shares let workers be used again); each trial is held to its share (in
`runners.engines.ray.trial_process`), so that one which needs more than was measured fails by itself, without taking its
neighbours along, and is then run again alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from results.store.files import atomic_write
from results.store.run_layout import RunDir
from runners.engines.nodes.capacity import Node
from runners.planning.gpu_share import share_of
from runners.planning.history import duration_key
from runners.planning.plan import Plan
from runners.planning.profiling import activation_mib, probe_trial, training_mib
from runners.trials.assignment import Assignment
from search_space import Problem, Resources, Setting, SpecError, Variant

__all__ = ["DECLARED", "GpuShares", "smallest_gpu"]

DECLARED = "gpu_memory_gib"
"""The Ray resource by which a node may declare the memory of each of its GPUs, where no GPU is there to be asked."""
_GIB, _MIB_PER_GIB = 2**30, 1024


def smallest_gpu(nodes: Iterable[Node]) -> float:
    """GiB of the smallest GPU of the connected cluster.

    Raises:
        SpecError: the GPU memory of a node is known neither from its GPUs nor from the resource `gpu_memory_gib`.
    """
    sizes, silent = [], []
    for node in nodes:
        if node.total.get("GPU", 0.0) <= 0:
            continue
        size = node.total.get(DECLARED) or _ask_gpu(node)
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

    Raises:
        SpecError: the memory of the GPUs is not known.
    """

    def __init__(self, plan: Plan, run_dir: RunDir, nodes: Sequence[Node]) -> None:
        self._plan = plan
        self._path = run_dir.gpu_memory
        self._total = smallest_gpu(nodes)
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
        return share_of(self._peaks[key], self._total)

    def _measure(self, variants: Sequence[Variant]) -> None:
        missing = {_key(variant.setting): variant for variant in variants}
        missing = {key: variant for key, variant in missing.items() if key not in self._peaks}
        if not missing:
            return
        if self._is_real:
            resources = self._plan.sweep.resources.model_dump_json()
            settings = [variant.setting.model_dump_json() for variant in missing.values()]
            found = ray.get(_peaks_on_gpu.remote(settings, resources))
        else:
            found = [self._estimate(variant) for variant in missing.values()]
        self._peaks |= dict(zip(missing, found, strict=True))
        atomic_write(self._path, json.dumps(self._peaks, indent=1) + "\n")

    def _estimate(self, variant: Variant) -> float:
        params_m = self._plan.cost_of(variant)["params_m"]
        activation = activation_mib(variant.setting, self._plan.dataset_of(variant))
        return training_mib(variant.setting, params_m=params_m, activation=activation) / _MIB_PER_GIB


def _key(setting: Setting) -> str:
    return duration_key(setting.model_dump(mode="json"))


def _read(path: Path) -> dict[str, float]:
    """Peaks that earlier starts measured; any other content is measured again."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return {key: gib for key, gib in found.items() if isinstance(gib, float)} if isinstance(found, dict) else {}


def _ask_gpu(node: Node) -> float | None:
    here = NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
    return ray.get(_gpu_gib.options(scheduling_strategy=here).remote())


# `max_calls`: a process that stays would keep its CUDA context, and with it memory that trials were promised.
@ray.remote(num_cpus=0, num_gpus=0.01, max_calls=1)
def _gpu_gib() -> float | None:
    import torch

    return torch.cuda.get_device_properties(0).total_memory / _GIB if torch.cuda.is_available() else None


@ray.remote(num_cpus=0, num_gpus=1, max_calls=1)
def _peaks_on_gpu(settings: list[str], resources: str) -> list[float]:
    """Peak GiB of each of these trainings; infinite where the GPU is too small."""
    import torch

    peaks = []
    for setting in settings:
        try:
            probe = probe_trial(
                Setting.model_validate_json(setting),
                Resources.model_validate_json(resources),
                device="cuda",
                max_seconds=1.0,
            )
            assert probe.peak_mib is not None, "measured on a GPU"
            peaks.append(probe.peak_mib / _MIB_PER_GIB)
        except torch.OutOfMemoryError:
            peaks.append(math.inf)
        torch.cuda.empty_cache()
    return peaks
