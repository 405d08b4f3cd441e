"""One CUDA graph for forward and backward pass of a training step (`resources.cuda_graph`).

A small model on a fast GPU waits for Python, which starts hundreds of kernels a step; a graph starts them all at once.
It repeats what was recorded, on the same memory: shapes must not change, and nothing may be decided or drawn on the CPU
inside of the model. So it is offered for classification of images in memory, in one process. Loss, mixup, clipping and
optimiser stay outside, and so does every evaluation.

Never run on a GPU by us: what surrounds the capture is tested on a CPU, the capture itself is PyTorch's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from runners.data import DataInfo, train_batch_size
from runners.data.random_streams import generator_states, restore_generators
from runners.tasks.classification import Classification
from runners.training.device import kind_of_device
from runners.training.precision import Precision
from runners.trials.out_of_memory import lack_of_memory
from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.schema.resources import Resources
from search_space.schema.trial import Setting

__all__ = ["WITHOUT_GRAPH", "capture_forward", "reason_against_graph"]

WITHOUT_GRAPH = "leave cuda_graph out, which changes no number"


def reason_against_graph(setting: Setting, info: DataInfo, resources: Resources) -> str:
    """Why the trainings of a setting cannot be one CUDA graph; empty where they can, or none is asked for."""
    if not resources.cuda_graph:
        return ""
    if setting.task.name != "classification":
        return f"the task is {setting.task.name}; a CUDA graph is for classification, whose batches have one shape"
    if info.storage != "memory":
        return "the images are read by a loader; a CUDA graph is for images in memory"
    if resources.num_processes > 1:
        return f"{resources.num_processes} processes train a trial; a CUDA graph is for one"
    if setting.train.cosine_regulariser is not None:
        return "train.cosine_regulariser records maps in Python in every step, which a CUDA graph would not repeat"
    if setting.train.freeze:
        return "train.freeze puts parts in evaluation mode after the graph is captured"
    if setting.train.aug_splits:
        return "train.aug_splits are made image by image by a loader; a CUDA graph is for images in memory"
    if setting.train.grad_accum_steps > 1:
        return "train.grad_accum_steps adds up gradients, which a CUDA graph writes to one place in every step"
    if setting.train.recompute_maps and setting.arch.attn_drop_rate:
        return "train.recompute_maps draws the masks of dropout again, from a state that a CUDA graph does not keep"
    if kind_of_device(resources) != "cuda":
        return "the trials use no GPU (resources.gpus: 0)"
    return ""


def capture_forward(
    task: Any, setting: Setting, info: DataInfo, resources: Resources, device: torch.device, precision: Precision
) -> None:
    """Let a task compute its training steps by a CUDA graph, if `resources` ask for one; training is not begun by it.

    Weights, buffers and generators are as before: the steps of a capture leave no trace.

    Raises:
        SpecError: it cannot be; the message says why.
    """
    if not resources.cuda_graph:
        return
    reason = reason_against_graph(setting, info, resources)
    if not reason and device.type != "cuda":
        reason = f"the trial runs on {device.type!r}, not on a CUDA device"
    if reason:
        raise _refused(reason)
    assert isinstance(task, Classification)
    weight = next(task.model.parameters())
    size = Classification.input_size(setting, info)
    images = torch.zeros(train_batch_size(setting.train, info.num_train), info.in_chans, *size, device=weight.device)
    buffers = [(buffer, buffer.clone()) for buffer in task.model.buffers()]
    before = generator_states(weight.device)
    task.model.train()
    had_cache = torch.is_autocast_cache_enabled()
    try:
        with precision.autocast():
            torch.set_autocast_cache_enabled(False)  # a cast weight must be cast again in every step
            graphed: Any = torch.cuda.make_graphed_callables(_Forward(task.model), (images,), allow_unused_input=True)
    except RuntimeError as err:
        if lack_of_memory(err) is not None:
            raise
        raise _refused(f"the model cannot be captured: {reason_of(err)}") from err
    finally:
        torch.set_autocast_cache_enabled(had_cache)
    if not _is_equal(_of_the_cpu(before), _of_the_cpu(generator_states(weight.device))):
        raise _refused("the model draws random numbers on the CPU in its forward pass, which a CUDA graph would repeat")
    with torch.no_grad():
        for buffer, value in buffers:
            buffer.copy_(value)
    restore_generators(before, weight.device)
    task.compute_logits_by(graphed)


class _Forward(nn.Module):
    """The model inside of another module, whose `forward` the capture replaces: copies of the model (moving averages,
    other sizes) keep their own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)


def _refused(reason: str) -> SpecError:
    return SpecError(Problem(reason, path="resources.cuda_graph", hint=WITHOUT_GRAPH))


def _of_the_cpu(states: dict[str, Any]) -> dict[str, Any]:
    return {name: state for name, state in states.items() if name != "cuda"}


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_equal(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    return one == other
