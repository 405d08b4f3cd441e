"""Seconds of a training step by itself and in a stacked model, measured here: what the planner chooses by.

CPU time of the process, not the clock on the wall: on a busy machine other processes must not decide. Measured once for
each shape and kind of processor, and kept in the user's cache.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from modelzoo.stacked import bits_depend_on_group
from runners.data import DataInfo, train_batch_size
from runners.data.random_streams import global_streams
from runners.machine.user_cache import default_directory, step_times, write_fact
from runners.tasks import TASKS
from runners.training.gpu.numerics import numerics
from runners.training.map_numerics import set_map_numerics
from runners.training.stacked.group_evaluation import evaluated_together, padded_sizes
from runners.training.stacked.group_steps import StackedTraining
from runners.training.state import TrainingState
from runners.training.trial_parts.epoch import PartOfUpdate
from runners.trials.form import shape_of
from search_space import Setting

__all__ = ["StepTimes", "measure_steps", "time_steps"]

_SEED = 2**31 - 1  # not used by reported trials
_STEPS, _MORE_STEPS = 2, 4
_CLEAR = (0.95, 1.1)
"""Speeds of `fused` over `single` outside of which two steps decide; between them it takes more to tell the faster."""
_WHOLE = PartOfUpdate(begins=True, ends=True, of=1)
_MOST_SECONDS = 0.25
"""Of one step by itself: what a longer one spends outside of its arithmetic is not worth measuring."""


@dataclass(frozen=True)
class StepTimes:
    """CPU seconds of a step of one trial: by itself, and its share of a step of the stacked model; None where that was
    not measured, because the step is too long to gain anything.

    Attributes:
        is_exact: whether a member's bits are the same in a larger group, on this processor.
    """

    single: float
    fused: float | None
    is_exact: bool = True


def time_steps(setting: Setting, info: DataInfo, size: int) -> StepTimes:
    """Steps of both forms, the fastest of two each, or of four where two do not tell which form is faster; from the
    user's cache where they were measured before.

    Args:
        size: number of trials in the stacked model.
    """
    shape = shape_of(setting)
    del shape["task"], shape["train"]["epochs"]
    of_data = f"{info.img_size} {info.in_chans} {info.num_classes} {sorted(_evaluated(setting, info))}"
    digest = hashlib.sha256(f"{json.dumps(shape)} {of_data} {size} {_here()}".encode()).hexdigest()[:32]
    if digest not in _KNOWN:
        memory = default_directory()
        path = None if memory is None else step_times(memory) / f"{digest}.json"
        found = None if path is None else _read(path)
        if found is None:
            found = measure_steps(setting, info, size)
            if path is not None:
                write_fact(path, json.dumps(asdict(found)) + "\n")
        _KNOWN[digest] = found
    return _KNOWN[digest]


_KNOWN: dict[str, StepTimes] = {}
"""Measured in this process: a plan that is made twice chooses the same."""


@functools.cache
def _here() -> str:
    """Kind of processor, and what computes on it."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("archsweep", "torch", "timm")]
    capability = torch.backends.cpu.get_cpu_capability()
    return " ".join([platform.machine(), _processor(), capability, *versions])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def measure_steps(setting: Setting, info: DataInfo, size: int) -> StepTimes:
    """As `time_steps`, measured in any case."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with global_streams(_SEED), numerics(setting.train, torch.device("cpu")):
            return _measure(setting, info, size)
    finally:
        torch.set_num_threads(threads)


def _measure(setting: Setting, info: DataInfo, size: int) -> StepTimes:
    states = [_state(setting, info) for _ in range(size)]
    images = train_batch_size(setting.train, info.num_train)
    inputs = torch.randn(images * max(1, setting.train.aug_splits), info.in_chans, *_size(setting, info))
    batch = inputs, torch.arange(images) % max(1, info.num_classes)
    single = states[0]

    def alone() -> None:
        for _ in range(size):
            loss = single.task.loss(batch, single.mixing)
            single.precision.update(loss, single.optimizer, single.task.model, setting.train)

    began = time.process_time()
    single.precision.update(single.task.loss(batch, single.mixing), single.optimizer, single.task.model, setting.train)
    if (first := time.process_time() - began) > _MOST_SECONDS:
        return StepTimes(first, None)
    if bits_depend_on_group(single.task.model, batch_size=len(inputs), evaluated=_evaluated(setting, info)):
        return StepTimes(first, None, is_exact=False)
    generators = [torch.Generator().manual_seed(_SEED) for _ in states]
    together = StackedTraining(states, generators, setting.train)

    def fused() -> None:
        together.update([batch] * size, _WHOLE)

    alone()
    fused()
    rounds: list[tuple[float, float]] = []
    while True:
        rounds += [(_seconds(alone) / size, _seconds(fused) / size) for _ in range(_STEPS)]
        times = StepTimes(*(min(each) for each in zip(*rounds, strict=True)))
        assert times.fused is not None
        if len(rounds) >= _MORE_STEPS or not _CLEAR[0] < times.single / times.fused < _CLEAR[1]:
            return times


def _state(setting: Setting, info: DataInfo) -> TrainingState:
    kind = TASKS[setting.task.name]
    model = kind.build(setting, info, seed=_SEED)
    set_map_numerics(model, setting.train)
    cpu = torch.device("cpu")
    task = kind(model, info=info, spec=setting.task, train=setting.train, device=cpu)
    return TrainingState(task, setting.train, seed=_SEED, updates_per_epoch=1, device=cpu, evaluations=())


def _evaluated(setting: Setting, info: DataInfo) -> set[int]:
    """Images of the batches that a stack evaluates."""
    return padded_sizes(setting.train, info) if evaluated_together(setting.task, info) else set()


def _size(setting: Setting, info: DataInfo) -> tuple[int, int]:
    return TASKS[setting.task.name].input_size(setting, info)


def _seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _read(path: Path) -> StepTimes | None:
    try:
        found = json.loads(path.read_bytes())
        fused = None if found["fused"] is None else float(found["fused"])
        return StepTimes(float(found["single"]), fused, is_exact=found["is_exact"] is True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
