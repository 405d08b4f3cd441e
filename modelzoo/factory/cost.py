"""Exact cost of a model without allocating it: built on torch's meta device, counted by torch's FLOP counter.

Matrix products, convolutions and fused attention are counted; norms, activations, softmax and other element-wise
operations are not, as in the papers' tables.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from modelzoo.factory.build import build_model, resolve_img_size
from modelzoo.factory.other_size import model_at_size
from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.schema.trial import ArchSpec

__all__ = ["Cost", "counted", "flops_by_operation", "measure_cost"]


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass of one image: parameters in 10^6, multiply-accumulates in 10^9 (1 MAC = 2 FLOPs)."""

    params_m: float
    gmacs: float


def measure_cost(
    arch: ArchSpec,
    *,
    img_size: int | tuple[int, int] | None,
    in_chans: int,
    num_classes: int,
    test_size: tuple[int, int] | None = None,
) -> Cost:
    """Parameters and multiply-accumulates of one image in evaluation mode; results are cached.

    Args:
        test_size: (height, width) at which the model is evaluated, where it is not that of its training.

    Raises:
        SpecError: the architecture cannot be built, or not be evaluated at `test_size`.
    """
    size = resolve_img_size(arch, img_size)
    return _measure(arch.model_dump_json(), size, in_chans, num_classes, test_size)


@functools.lru_cache(maxsize=4096)
def _measure(
    arch_json: str, img_size: tuple[int, int], in_chans: int, num_classes: int, test_size: tuple[int, int] | None
) -> Cost:
    arch = ArchSpec.model_validate_json(arch_json)
    shape = {"img_size": img_size, "in_chans": in_chans, "num_classes": num_classes}
    with torch.device("meta"):
        model = build_model(arch, **shape) if test_size is None else model_at_size(arch, test_size, **shape)
        model.eval()
        image = torch.empty(1, in_chans, *(test_size or img_size))
    try:
        return counted(model, image)[0]
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as err:
        height, width = test_size or img_size
        reason = reason_of(err)
        raise SpecError(
            Problem(
                f"{arch.model!r} cannot process a {height}x{width} image with {in_chans} channels: {reason}",
                path="arch.img_size",
                hint="choose another arch.img_size or another model",
            )
        ) from err


def counted(module: nn.Module, given: Any) -> tuple[Cost, Any]:
    """Cost of a module by one forward pass, and what that returns. Its parameters lose their `requires_grad`."""
    flops, result = flops_by_operation(module, given)
    params = sum(parameter.numel() for parameter in module.parameters())
    return Cost(params_m=params / 1e6, gmacs=sum(flops.values()) / 2e9), result


def flops_by_operation(module: nn.Module, *given: Any) -> tuple[dict[Any, int], Any]:
    """FLOPs of one forward pass by PyTorch's operation, and what it returns. The parameters lose their `requires_grad`:
    the counter tracks modules by gradient hooks, which fail for weights that are passed to modules as inputs."""
    module.requires_grad_(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = module(*given)
    return counter.get_flop_counts().get("Global", {}), result
