"""Feature backbone: a model of a sweep without its classifier, as a module from images to a feature of each image.

It is the model that `build_model` builds, with the same mechanism in the same blocks and the same initial weights; all
of its parameters get a gradient. The feature of an image is what the model's classifier takes (class token, or mean of
normalised tokens). Features of regions are the patch tokens, or the positions of the last map, after the final norm;
of RegionViT its regional tokens, which are what it pools.

Shapes:  B images, D dim, N regions, R region_dim.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from timm.models.coat import CoaT
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.dense.backbone import built_for
from modelzoo.dense.input_sizes import FAILURES, on_meta, variants_by_size_options
from modelzoo.dense.parameter_groups import matcher_with_prefix
from modelzoo.factory.build import build_model
from modelzoo.self_supervised.positions import block_outputs, is_plain_vit, last_tokens
from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.schema.trial import ArchSpec

__all__ = ["FeatureBackbone", "ImageFeatures", "build_feature_backbone"]

_HINT = "use a model with features, for example vit, swin_*, pvt_v2_* or one of the zoo's (docs/models.md)"


class ImageFeatures(NamedTuple):
    """Feature (B, D) of every image, and features (B, N, R) of its regions."""

    pooled: torch.Tensor
    regions: torch.Tensor


class FeatureBackbone(nn.Module):
    """Images (B, in_chans, H, W) -> features (B, D).

    Attributes:
        canvas: Image size (height, width) for which the model was built.
        dim, region_dim: D and R; R is None where the model has no features of regions.
    """

    def __init__(self, model: nn.Module, *, canvas: tuple[int, int], dim: int, region_dim: int | None) -> None:
        super().__init__()
        self.model: Any = model
        self.canvas, self.dim, self.region_dim = canvas, dim, region_dim

    def group_matcher(self, coarse: bool = False) -> Any:
        """Parameter groups by depth, for layer-wise learning rates: those of the model."""
        return matcher_with_prefix(self.model.group_matcher(coarse=coarse), "model.")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations."""
        self.model.set_grad_checkpointing(enable)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.forward_head(_last_features(self.model, images, self.canvas), pre_logits=True)

    def with_regions(self, images: torch.Tensor) -> ImageFeatures:
        """Features of images and of their regions; the first are those of `forward`."""
        features = _last_features(self.model, images, self.canvas)
        return ImageFeatures(self.model.forward_head(features, pre_logits=True), _regions(self.model, features))

    def last_blocks(self, images: torch.Tensor, num_blocks: int = 4) -> torch.Tensor:
        """Normalised, pooled features of the last blocks side by side, the oldest first: (B, num_blocks * D).

        Of a model with class token: the normalised class token of each block, as DINO's linear probe takes it of ViT-S.

        Raises:
            SpecError: the model is no plain vision transformer, or has fewer blocks.
        """
        model = self.model
        if not isinstance(model, VisionTransformer):
            raise SpecError(_no_blocks(model, "has blocks of several widths"))
        if not 1 <= num_blocks <= len(model.blocks):
            raise SpecError(_no_blocks(model, f"has {len(model.blocks)} blocks, but {num_blocks} are asked for"))
        if is_plain_vit(model) and model.dynamic_img_size:
            outputs = block_outputs(model, images, num_blocks)
        else:
            outputs = _intermediate_tokens(model, images, num_blocks)
        return torch.cat([model.forward_head(model.norm(each), pre_logits=True) for each in outputs], dim=1)


def build_feature_backbone(
    arch: ArchSpec,
    *,
    img_size: int | tuple[int, int],
    local_size: int | tuple[int, int] | None = None,
    in_chans: int,
    seed: int | None = None,
) -> FeatureBackbone:
    """Build a backbone in training mode, with freshly initialised weights on the current default device.

    Args:
        img_size: The canvas, for which position tables and windows are built. `arch.img_size` must be equal if given.
        local_size: A second size of images that it must take.
        seed: Seed of the weights; torch's global generator is then unchanged. None draws from that generator.

    Raises:
        SpecError: the architecture cannot be built for the canvas, has no feature, or takes no images of `local_size`.
    """
    canvas = _pair(img_size)
    local = canvas if local_size is None else _pair(local_size)
    arch = built_for(arch, canvas)
    model = on_meta(arch, canvas=canvas, in_chans=in_chans)
    dim, region_dim = _measured_dims(arch, model, canvas=canvas, in_chans=in_chans)
    if local != canvas:
        options = _options_for(arch, model, canvas=canvas, local=local, in_chans=in_chans)
        arch = arch.model_copy(update={"options": {**arch.options, **options}})
    model = build_model(arch, img_size=canvas, in_chans=in_chans, num_classes=0, seed=seed)
    return FeatureBackbone(model, canvas=canvas, dim=dim, region_dim=region_dim)


def _last_features(model: Any, images: torch.Tensor, canvas: tuple[int, int]) -> Any:
    """What the model's `forward_head` takes."""
    if tuple(images.shape[-2:]) != canvas and is_plain_vit(model) and model.dynamic_img_size:
        return last_tokens(model, images)
    return model.forward_features(images)


def _regions(model: Any, features: Any) -> torch.Tensor:
    """Features (B, N, R) of regions, without prefix tokens."""
    if isinstance(model, CoaT):
        # Of several scales the coarsest; each has a class token, which timm does not state.
        return (features[-1] if isinstance(features, list) else features)[:, 1:]
    if features.ndim == 4:
        is_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        return features.flatten(1, 2) if is_last else features.flatten(2).transpose(1, 2)
    tokens = features[:, getattr(model, "num_prefix_tokens", 0) :]
    # A transformer that pools means has its final norm after the pooling.
    norm = getattr(model, "fc_norm", None)
    return tokens if norm is None else norm(tokens)


def _has_regions(model: nn.Module, features: Any) -> bool:
    """Whether it is known which of the features are those of regions."""
    if isinstance(model, CoaT):
        return True
    if not isinstance(features, torch.Tensor) or features.ndim not in (3, 4):
        return False
    # PiT returns its class token alone, and states no number of prefix tokens.
    has_unstated_token = isinstance(getattr(model, "cls_token", None), nn.Parameter)
    return hasattr(model, "num_prefix_tokens") or not has_unstated_token


def _intermediate_tokens(model: VisionTransformer, images: torch.Tensor, num_blocks: int) -> list[torch.Tensor]:
    taken: Any = model.forward_intermediates(
        images, indices=num_blocks, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )
    return [torch.cat([prefix, patches], dim=1) for patches, prefix in taken]


def _measured_dims(arch: ArchSpec, model: Any, *, canvas: tuple[int, int], in_chans: int) -> tuple[int, int | None]:
    try:
        with torch.device("meta"), torch.no_grad():
            features = model.forward_features(torch.empty(1, in_chans, *canvas))
            pooled = model.forward_head(features, pre_logits=True)
    except FAILURES as err:
        raise SpecError(_no_feature(arch, f"{type(err).__name__}: {reason_of(err)}")) from err
    if not isinstance(pooled, torch.Tensor) or pooled.ndim != 2:
        raise SpecError(_no_feature(arch, "its head pools nothing"))
    return pooled.shape[1], _regions(model, features).shape[2] if _has_regions(model, features) else None


def _options_for(
    arch: ArchSpec, model: nn.Module, *, canvas: tuple[int, int], local: tuple[int, int], in_chans: int
) -> dict[str, bool]:
    """Constructor arguments with which the model takes images of both sizes."""
    reason = ""
    for candidate, options in variants_by_size_options(arch, model, canvas=canvas, in_chans=in_chans):
        try:
            with torch.device("meta"), torch.no_grad():
                _last_features(candidate, torch.empty(1, in_chans, *local), canvas)
        except FAILURES as err:
            reason = reason_of(err)
            continue
        return options
    sizes = [f"{height}x{width}" for height, width in (canvas, local)]
    raise SpecError(
        Problem(
            f"{arch.model!r} built for {sizes[0]} images does not take local views of {sizes[1]}: {reason}",
            path="task.local_size",
            hint=f"write local_size: {canvas[0] if canvas[0] == canvas[1] else list(canvas)} (local views are then "
            "enlarged), or choose a size or a model that fits: vit, swin_*, pvt_v2_*, groupmixformer_*, regionvit_*, "
            "lg_transformer_* and deepvit_* take several sizes",
        )
    )


def _no_feature(arch: ArchSpec, reason: str) -> Problem:
    return Problem(f"{arch.model!r} gives no feature of an image: {reason}", path="arch.model", hint=_HINT)


def _no_blocks(model: nn.Module, reason: str) -> Problem:
    return Problem(
        f"{type(model).__name__} {reason}, so it gives no features of these last blocks",
        path="arch.model",
        hint="use a plain vision transformer (vit, vit_*, deepvit_*, refined_vit_*), and at most all of its blocks",
    )


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
