"""Whether a member's digits depend on how many members are in its stack, tried on this machine.

They do not where every kernel computes a member by itself. Libraries choose kernels by the number of channels, though:
on processors without AVX2, oneDNN's gradient of a depthwise convolution of attention maps is another for 18 channels
than for 36. Which one is chosen is not documented, so it is tried.

Shapes:  K members, B images.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from modelzoo.stacked.stacked import Stacked

__all__ = ["bits_depend_on_group"]


def bits_depend_on_group(
    model: nn.Module, *, batch_size: int, evaluated: Collection[int] = (), sizes: Sequence[int] = (2, 4, 8)
) -> bool:
    """Whether logits, gradients or statistics of one training step, or logits in evaluation mode, differ between stacks
    of these sizes.

    Args:
        model: a single model, for which `reason_not_stackable` is None; it is left as it is.
        evaluated: sizes of batches in evaluation mode.
    """
    assert isinstance(model, VisionTransformer)
    first, *others = (_computed(model, size, batch_size, evaluated, shown=min(sizes)) for size in sizes)
    return not all(torch.equal(one, other) for found in others for one, other in zip(first, found, strict=True))


def _computed(
    model: VisionTransformer, size: int, batch_size: int, evaluated: Collection[int], *, shown: int
) -> list[Tensor]:
    """Everything that a step and an evaluation compute, of the first members."""
    streams = [torch.Generator().manual_seed(member) for member in range(size)]
    stack = Stacked([model] * size, generators=streams).train()
    height, width = model.patch_embed.img_size
    inputs = [torch.Generator().manual_seed(member) for member in range(size)]
    shape = (batch_size, model.in_chans, height, width)
    like = next(model.parameters())
    images = torch.stack([torch.randn(shape, generator=each).to(like) for each in inputs])
    labels = torch.stack([torch.randint(model.num_classes, (batch_size,), generator=each) for each in inputs])
    logits_KBC = stack(images)
    F.cross_entropy(logits_KBC.flatten(0, 1), labels.flatten(), reduction="sum").backward()
    gradients = [parameter.grad for parameter in stack.parameters() if parameter.grad is not None]
    with torch.no_grad():
        shown_images = [images[:1, :1].expand(size, each, *shape[1:]) for each in evaluated]
        outputs = [stack.eval()(each) for each in shown_images]
    return [each[:shown].detach() for each in (logits_KBC, *gradients, *stack.buffers(), *outputs)]
