"""Profiling of a trial: duration and memory from a few steps on the local device, without a record.

`activation_mib` needs no device: it counts the tensors that autograd keeps for the backward pass of one image, in
float32, on the meta device. Kernels that keep less on other devices (fused attention, mixed precision) make it an
upper estimate there.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from modelzoo import attention_batchnorms
from modelzoo.attention.map_kernels.chosen import set_numerics
from runners.data import Data, DataInfo, describe_dataset, load_data
from runners.data.epochs import updates_of
from runners.data.random_streams import global_streams
from runners.planning.known_costs import remembered
from runners.planning.peak_memory import PeakMemory
from runners.tasks import TASKS, Task
from runners.tasks.task import MeasuredModel
from runners.training.bn_recalibration import recalibrate
from runners.training.device import device_of_trial
from runners.training.diagnostics import PROBED_AT_ONCE, probe_model
from runners.training.evaluation import Evaluation
from runners.training.gpu.cuda_graph import capture_forward
from runners.training.gpu.layout import in_fast_layout
from runners.training.gpu.numerics import numerics
from runners.training.map_numerics import set_map_numerics
from runners.training.precision import Precision
from runners.training.state import TrainingState
from search_space import Resources, Setting
from search_space.schema.task import TaskSpec

__all__ = ["Probe", "activation_mib", "probe_trial", "training_mib"]

_SEED = 2**31 - 1  # not used by reported trials
_WARM_UP = 2
_MIN_STEPS = 3
_MIB = 2**20
_NOT_OF_THE_NETWORK = set(TaskSpec.model_fields) - {"name"}
"""Options that all tasks have: which data there is and what is measured."""


@dataclass(frozen=True)
class Probe:
    """Estimated duration and memory of a whole trial.

    Attributes:
        seconds: set-up, all epochs with their evaluations, and the final evaluation on the test split.
        measuring_seconds: all evaluations, which a trial that is measured in another's training takes alone.
        peak_mib: peak memory that PyTorch's allocator reserved on a GPU; None on a CPU, where it is not measured.
    """

    seconds: float
    step_seconds: float
    peak_mib: float | None
    device: str
    measuring_seconds: float = 0.0


def activation_mib(setting: Setting, info: DataInfo, *, recompute_maps: bool | None = None) -> float:
    """Activation memory of one training step in MiB per image of the batch, in float32.

    The difference between batches of three and two images, so that constant parts (weights) cancel out.

    Args:
        recompute_maps: in place of the setting's `train.recompute_maps`.
    """
    task = setting.task.model_dump_json(exclude=_NOT_OF_THE_NETWORK)
    recompute = setting.train.recompute_maps if recompute_maps is None else recompute_maps
    arch = setting.arch.model_dump_json()
    found = remembered(
        f"activations {arch} {task} {recompute}", info, lambda: {"mib": _activation_mib(arch, task, info, recompute)}
    )
    return found["mib"]


@functools.lru_cache(maxsize=4096)
def _activation_mib(arch_json: str, task_json: str, info: DataInfo, recompute_maps: bool) -> float:
    setting = Setting.model_validate_json(f'{{"arch": {arch_json}, "task": {task_json}}}')
    task = TASKS[setting.task.name]
    with torch.device("meta"):
        model = task.build(setting, info).train()
        set_numerics(model, "recompute" if recompute_maps else "single")
        one, two = (_saved_bytes(lambda n=n: model(*task.example(setting, info, n))) for n in (2, 3))
    return (two - one) / _MIB


def _saved_bytes(forward: Callable[[], object]) -> int:
    """Bytes of the distinct storages that autograd saves."""
    held: list[torch.UntypedStorage] = []  # kept alive, so that no two of them share an id

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor.untyped_storage())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum({id(storage): storage.nbytes() for storage in held}.values())


def training_mib(setting: Setting, *, params_m: float, activation: float) -> float:
    """Estimated memory of a training in MiB: weights, gradients, optimiser state, weight average, activations.

    In float32, for one batch; the images themselves and the libraries are not included. Without training there are only
    weights, and the activations, none of which is kept for a gradient, are an upper estimate.
    """
    train = setting.train
    if not train.epochs:
        return 4 * params_m * 1e6 / _MIB + train.batch_size * activation
    states = 1 if train.opt.lower() in _ONE_STATE else 2
    copies = 2 + states + (train.ema_decay is not None)
    return copies * 4 * params_m * 1e6 / _MIB + train.batch_size * max(1, train.aug_splits) * activation


_ONE_STATE = {"sgd", "momentum", "nesterov", "lion", "rmsprop", "signum"}


def probe_trial(
    setting: Setting, resources: Resources, *, device: str | None = None, max_seconds: float = 3.0
) -> Probe:
    """Run a few steps of training and evaluation, and all else that a trial does once; extrapolate to the whole trial.

    Args:
        device: `cpu`, `cuda`, ...; default: that of a trial with these resources.
        max_seconds: limit of each of the two measurements of time, warm-up excluded.

    Raises:
        DeviceMissing: the device that the resources reserve is not here.
        SpecError: the model cannot be built, or the data is missing.
    """
    where = torch.device(device) if device else device_of_trial(resources)
    memory = PeakMemory(where)
    start = time.perf_counter()
    info = describe_dataset(setting.task, resources)
    train = setting.train
    kind = TASKS[setting.task.name]
    model = in_fast_layout(kind.build(setting, info, seed=_SEED), setting, info, where).to(where)
    set_map_numerics(model, train)
    size = kind.input_size(setting, info)
    options = kind.data_options([setting], info)
    data = load_data(setting.task, train, resources, where, img_size=size, seed=_SEED, info=info, **options)
    with global_streams(_SEED), numerics(train, where):
        task = kind(model, info=info, spec=setting.task, train=train, device=where)
        measured = task.measured_as(setting.task)
        precision = Precision(train.amp, where)
        step = _training_step(task, measured, setting, data, info, resources, where) if train.epochs else None
        setup = time.perf_counter() - start
        task.model.train()
        step_seconds = _seconds_of(step, where, max_seconds) if step else 0.0
        images = itertools.cycle(itertools.islice(data.test, 4))
        eval_seconds = _seconds_of(
            lambda: measured.metrics(itertools.islice(images, 1), precision.autocast()), where, max_seconds
        )
        _do_once(setting, data, task, measured, precision)
    peak = memory.mib()
    seconds = setup + _work_seconds(setting, data, task.encoder, step_seconds, eval_seconds)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    return Probe(seconds, step_seconds, peak, name, _measuring(setting, data, eval_seconds))


def _training_step(
    task: Task,
    measured: MeasuredModel,
    setting: Setting,
    data: Data,
    info: DataInfo,
    resources: Resources,
    device: torch.device,
) -> Callable[[], None]:
    """A step of the training, on the next batch."""
    train = setting.train
    # As in a trial: `Evaluation` is what the state is of.
    evaluation = Evaluation("probe", measured, data.measured[0], train, num_test=info.num_test)
    state = TrainingState(
        task,
        train,
        seed=_SEED,
        updates_per_epoch=updates_of(len(data.train), train),
        device=device,
        evaluations=[evaluation],
    )
    capture_forward(task, setting, info, resources, device, state.precision)
    batches = itertools.chain.from_iterable(data.train.epoch(number) for number in itertools.count(1))

    def step() -> None:
        with state.precision.autocast():
            loss = task.loss(next(batches), state.mixing)
        state.precision.update(loss, state.optimizer, task.model, train)

    return step


def _do_once(setting: Setting, data: Data, task: Task, measured: MeasuredModel, precision: Precision) -> None:
    """What a trial does beside its steps and evaluations, for its memory: recalibration and probes.

    The probes hold all attention maps of a few images at once. Loading a checkpoint needs no more memory than training.
    """
    norms = attention_batchnorms(task.encoder) if setting.train.epochs else []
    recalibrate(task.encoder, norms, data.calibration, num_batches=1, autocast=precision.autocast())
    if setting.task.probes:
        few = setting.task.model_copy(update={"probe_images": PROBED_AT_ONCE, "probe_arrays": False})
        batch = next(iter(data.test))
        probe_model(measured.encoder, [batch], few, num_images=len(batch[1]), directory=None)


def _work_seconds(
    setting: Setting, data: Data, encoder: torch.nn.Module, step_seconds: float, eval_seconds: float
) -> float:
    train = setting.train
    epoch = len(data.train) * step_seconds
    if attention_batchnorms(encoder):
        epoch += min(train.recalibrate_bn, len(data.calibration)) * eval_seconds
    return train.epochs * epoch + _measuring(setting, data, eval_seconds)


def _measuring(setting: Setting, data: Data, eval_seconds: float) -> float:
    evaluated = data.test if data.val is None else data.val
    last = 0 if data.val is None else len(data.test)
    return (max(1, setting.train.epochs) * len(evaluated) + last) * eval_seconds


def _seconds_of(work: Callable[[], object], device: torch.device, max_seconds: float) -> float:
    """Mean duration of one call after two warm-up calls, which compile and allocate."""
    for _ in range(_WARM_UP):
        work()
    _wait(device)
    start = time.perf_counter()
    num = 0
    while num < _MIN_STEPS or (num < 10 * _MIN_STEPS and time.perf_counter() - start < max_seconds / 3):
        work()
        num += 1
        if num % _MIN_STEPS == 0:
            _wait(device)
            if time.perf_counter() - start > max_seconds:
                break
    _wait(device)
    return (time.perf_counter() - start) / num


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
