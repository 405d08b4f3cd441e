"""A trial without training (`train.epochs: 0`): its first weights are measured as they are.

Separate from the loop because there is nothing to loop over: no optimiser, no schedule, no curve, and no checkpoint,
because an interrupted evaluation begins again. BatchNorms keep the statistics of the weights, also those inside
attention maps: there is no training whose images they could be taken from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from runners.tasks import Task
from runners.training.evaluation import Evaluation
from runners.training.loop import Trained
from runners.training.precision import Precision
from runners.training.process_group import ALONE, ProcessGroup
from search_space.schema.trial import TrainSpec

__all__ = ["measure_weights"]


def measure_weights(
    task: Task,
    train: TrainSpec,
    *,
    device: torch.device,
    evaluations: Sequence[Evaluation],
    is_preempted: Callable[[], bool] = lambda: False,
    processes: ProcessGroup = ALONE,
) -> Trained:
    """Measure the weights of a task as every trial measures them; no update is done and no time of training counted.

    Args:
        evaluations: of the trial, and of further trials that differ in evaluation-only options.
        is_preempted: polled before every evaluation; on True the trial ends as `preempted`, and begins again later.
        processes: the process group that measures together.

    Raises:
        NonFiniteLoss: the loss on the evaluated split is NaN or infinite.
        UndefinedMetric: the metric of an evaluation has no value on the evaluated split.
    """
    precision = Precision(train.amp, device)
    for each in evaluations:
        if processes.agree(is_preempted):
            return Trained("preempted", 0.0)
        each.measure_untrained(precision, task.weights)
    return Trained("completed", 0.0, tuple(each.final_metrics(precision) for each in evaluations))
