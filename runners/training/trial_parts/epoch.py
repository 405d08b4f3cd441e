"""An epoch of a training, without its updates: which batches are left, what an update counts, what is measured.

Separate from the loop because trials that train as one stacked model do all of this as trials by themselves do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from modelzoo import attention_batchnorms
from runners.data import Batch, Data
from runners.data.random_streams import generator_states, restore_generators
from runners.tasks import Task
from runners.training.bn_recalibration import recalibrate
from runners.training.precision import Precision
from runners.training.state import TrainingState
from runners.trials.outcome import NonFiniteLoss
from search_space.schema.trial import TrainSpec

__all__ = [
    "PartOfUpdate",
    "batches_left",
    "begin_epoch",
    "check_finite",
    "count_batch",
    "measure_epoch",
    "part_of_update",
    "recalibrate_epoch",
    "recalibrate_on",
]

_CHECK_LOSS_EVERY = 100


@dataclass(frozen=True)
class PartOfUpdate:
    """A batch among those whose gradients make one update; `of` is their number."""

    begins: bool
    ends: bool
    of: int


def part_of_update(batch: int, num_batches: int, accumulated: int) -> PartOfUpdate:
    """Place of a batch, counted from 0 in its epoch; as timm's, an epoch's last update has what is left."""
    first = batch // accumulated * accumulated
    size = min(accumulated, num_batches - first)
    return PartOfUpdate(batch == first, batch == first + size - 1, size)


def begin_epoch(task: Task, finished: int, *, frozen: Iterable[nn.Module]) -> None:
    """Put the model into training mode before the epoch after `finished` ones, or before the rest of it.

    Args:
        frozen: modules that stay in evaluation mode.
    """
    task.model.train()
    for module in frozen:
        module.eval()
    task.begin_epoch(finished)


def batches_left(state: TrainingState, data: Data) -> Iterator[Batch]:
    """Remaining batches of the epoch. Those trained on before an interruption are read and dropped, which advances the
    augmentation streams to their positions at the interruption."""
    batches = iter(data.train.epoch(state.epoch + 1))
    if state.batches:
        generators = generator_states(state.device)
        for _ in range(state.batches):
            next(batches)
        restore_generators(generators, state.device)
    return batches


def count_batch(state: TrainingState, loss: Tensor, part: PartOfUpdate, *, average: Callable[[int], None]) -> None:
    """Count a batch whose gradient is computed, and with the last one of an update the update, too: the learning rate
    and the weight decay are then those of the next one.

    Args:
        loss: of the batch, detached.
        average: called after an update with the number of updates so far, for what follows the weights.

    Raises:
        NonFiniteLoss: the loss is NaN or infinite; looked at from time to time.
    """
    state.batches += 1
    if part.ends:
        average(state.updates)
        if state.schedule is not None:
            state.schedule.step_update(state.updates)
        state.weight_decay.step_update(state.updates)
    state.loss_sum += loss
    # Reading the loss synchronises with the GPU; once in 100 updates is enough to stop a diverged epoch early.
    if state.batches % _CHECK_LOSS_EVERY == 0:
        check_finite(state)


def check_finite(state: TrainingState) -> None:
    """Raises NonFiniteLoss where the sum of the epoch's losses is NaN or infinite."""
    value = state.loss_sum.item()
    if not math.isfinite(value):
        raise NonFiniteLoss(state.epoch + 1, value)


def recalibrate_epoch(state: TrainingState, data: Data, train: TrainSpec, *, frozen: Mapping[str, nn.Module]) -> None:
    """Recalibrate the BatchNorms inside attention before an epoch is measured.

    Args:
        frozen: modules that were not trained, by their names.
    """
    task = state.task
    state.processes.copy_buffers(task.evaluated_model)
    recalibrate_on(data, task.encoder, _trained_batchnorms(task.encoder, frozen), train, state.precision)


def measure_epoch(state: TrainingState) -> None:
    """Measure the epoch whose batches are done for every trial of the training, and begin the next one."""
    train_loss = state.processes.mean(state.loss_sum).item() / state.batches
    for each in state.evaluations:
        each.measure_epoch(train_loss, state.precision, state.task.weights)
    state.begin_epoch(state.epoch + 1)


def recalibrate_on(
    data: Data, model: nn.Module, batchnorms: Sequence[nn.Module], train: TrainSpec, precision: Precision
) -> None:
    """Recalibrate BatchNorms on the data's batches for it."""
    recalibrate(model, batchnorms, data.calibration, num_batches=train.recalibrate_bn, autocast=precision.autocast())


def _trained_batchnorms(encoder: nn.Module, frozen: Collection[str]) -> list[nn.Module]:
    """BatchNorms inside attention maps, without those of frozen modules, whose names an average has behind its own."""
    found = attention_batchnorms(encoder)
    if not frozen:
        return found
    names = {id(module): name for name, module in encoder.named_modules()}
    return [module for module in found if not any(f".{names[id(module)]}".endswith(f".{each}") for each in frozen)]
