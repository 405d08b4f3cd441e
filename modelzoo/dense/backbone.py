"""Backbone: a model of a sweep without its classifier, as a module from images to feature maps.

It is the model that `build_model` builds, with the same mechanism in the same blocks and the same initial weights, and
without what no feature map depends on (classifier, final norm, later stages): every parameter gets a gradient, as
distributed training needs.

Shapes:  B images, C channels, H x W pixels or map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from modelzoo.dense.input_sizes import Features, intermediate_maps, measured_features
from modelzoo.dense.levels import is_isotropic
from modelzoo.dense.parameter_groups import matcher_with_prefix
from modelzoo.factory.build import build_model
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.trial import ArchSpec

__all__ = ["Backbone", "build_backbone", "built_for"]


class Backbone(nn.Module):
    """Images (B, in_chans, H, W) -> one map (B, C, H / reduction, W / reduction) per level, the finest first.

    The maps are those before the model's final norm.

    Attributes:
        channels, reductions: Of every level.
        canvas: Image size (height, width) for which the model was built.
        multiple_of: Legal sides of images are its multiples; None: only the canvas is legal.
    """

    def __init__(self, model: nn.Module, features: Features, canvas: tuple[int, int]) -> None:
        super().__init__()
        self.model: Any = model
        self.levels = tuple(self.model.prune_intermediate_layers(list(features.levels), prune_norm=True))
        self.channels, self.reductions = features.channels, features.reductions
        self.canvas, self.multiple_of = canvas, features.multiple_of

    @property
    def is_isotropic(self) -> bool:
        """Whether there is one reduction only, so that a pyramid must be made of the last map."""
        return is_isotropic(self.reductions)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay, as the model states them."""
        names = self.model.no_weight_decay() if hasattr(self.model, "no_weight_decay") else ()
        return {f"model.{name}" for name in names}

    def group_matcher(self, coarse: bool = False) -> Any:
        """Parameter groups by depth, for layer-wise learning rates: those of the model."""
        return matcher_with_prefix(self.model.group_matcher(coarse=coarse), "model.")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations."""
        self.model.set_grad_checkpointing(enable)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps, channels first.

        Raises:
            SpecError: a size that the model does not take.
        """
        height, width = images.shape[-2], images.shape[-1]
        if self.multiple_of is None:
            if (height, width) != self.canvas:
                raise SpecError(self._wrong_size(height, width, f"only {self.canvas[0]}x{self.canvas[1]}"))
        elif height % self.multiple_of or width % self.multiple_of:
            raise SpecError(self._wrong_size(height, width, f"sides that are multiples of {self.multiple_of}"))
        return intermediate_maps(self.model, images, self.levels)

    def _wrong_size(self, height: int, width: int, legal: str) -> Problem:
        return Problem(
            f"{type(self.model).__name__} was built for {self.canvas[0]}x{self.canvas[1]} images, but got "
            f"{height}x{width}",
            hint=f"legal: {legal}; pad the images to it",
        )


def build_backbone(
    arch: ArchSpec,
    *,
    img_size: int | tuple[int, int],
    in_chans: int,
    out_indices: Sequence[int] | None = None,
    num_classes: int = 0,
    seed: int | None = None,
) -> Backbone:
    """Build a backbone in training mode, with freshly initialised weights on the current default device.

    Args:
        img_size: The canvas, for which position tables and windows are built. `arch.img_size` must be equal if given.
        out_indices: Indices of the model's feature maps. None: the last map of every reduction from 4 on; of an
            isotropic model its last map.
        num_classes: Classes of the classifier whose initial weights the backbone shall have. The classifier itself is
            left out, but timm draws it before the blocks of many models: with 0 there is no such draw.
        seed: Seed of the weights; torch's global generator is then unchanged. None draws from that generator.

    Raises:
        SpecError: the architecture cannot be built for the canvas, or its feature maps are no pyramid.
    """
    canvas = (img_size, img_size) if isinstance(img_size, int) else (img_size[0], img_size[1])
    arch = built_for(arch, canvas)
    chosen = None if out_indices is None else tuple(out_indices)
    features = measured_features(arch, canvas=canvas, in_chans=in_chans, out_indices=chosen)
    arch = arch.model_copy(update={"options": {**arch.options, **dict(features.options)}})
    model = build_model(arch, img_size=canvas, in_chans=in_chans, num_classes=num_classes, seed=seed)
    return Backbone(model, features, canvas)


def built_for(arch: ArchSpec, canvas: tuple[int, int]) -> ArchSpec:
    """The architecture with `img_size` set to the canvas.

    Raises:
        SpecError: `arch.img_size` is another size.
    """
    written = (arch.img_size, arch.img_size) if isinstance(arch.img_size, int) else arch.img_size
    if written is not None and tuple(written) != canvas:
        raise SpecError(
            Problem(
                f"arch.img_size is {written[0]}x{written[1]}, but the images of the task are {canvas[0]}x{canvas[1]}",
                path="arch.img_size",
                hint="remove arch.img_size: a backbone is built for the size of its task",
            )
        )
    return arch.model_copy(update={"img_size": canvas})
