"""BatchNorm2d whose running statistics are those of one forward pass, also under gradient checkpointing.

A checkpointed block is computed twice, in the forward pass and again while gradients flow back. A plain BatchNorm
counts both: `num_batches_tracked` is doubled, and the running statistics have another momentum. Everything else is as
in `nn.BatchNorm2d`, including parameter names.

Whether autograd is at work is asked with a function of PyTorch that its own modules use and its documentation does not
mention (decision 3): a `context_fn` would tell, but timm calls `torch.utils.checkpoint` without one. Reentrant
checkpointing also computes the block inside the backward pass, and is covered.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["BatchNorm2dOfOnePass", "is_recomputing", "remember"]


class BatchNorm2dOfOnePass(nn.BatchNorm2d):
    """BatchNorm2d that leaves its running statistics alone while a checkpointed block is computed again."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        is_traced = isinstance(input, torch.fx.Proxy)
        if not is_traced and (not self.training or not is_recomputing()):
            return super().forward(input)
        return _batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.num_batches_tracked,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )


@torch.fx.wrap  # counts batches and asks autograd when a traced graph runs, not when it is traced
def _batch_norm(
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    num_batches_tracked: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    training: bool,
    momentum: float | None,
    eps: float,
) -> torch.Tensor:
    # A momentum of 0 keeps the statistics; without them the pass would save fewer tensors than the first one.
    factor = 0.0
    if training and not is_recomputing():
        if num_batches_tracked is not None:
            num_batches_tracked.add_(1)
            factor = 1 / float(num_batches_tracked) if momentum is None else momentum
    elif running_mean is None:
        training = True
    return functional.batch_norm(
        input, running_mean, running_var, weight, bias, training=training, momentum=factor, eps=eps
    )


def is_recomputing() -> bool:
    """Whether this runs inside a backward pass. Compiled graphs recompute without running modules again."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


@torch.no_grad()
def remember(
    norm: nn.modules.batchnorm._BatchNorm, mean: torch.Tensor, variance: torch.Tensor, count: torch.Tensor
) -> None:
    """Move the running statistics as `nn.BatchNorm2d` does; a momentum of None is the plain average over batches.

    Args:
        variance: biased, of `count` entries of each map.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    weight = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    norm.running_mean += weight * (mean - norm.running_mean)
    norm.running_var += weight * (variance * count / (count - 1).clamp_min(1) - norm.running_var)
