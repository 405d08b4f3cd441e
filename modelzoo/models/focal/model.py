"""Focal Transformer: a pyramid with window attention to fine-grained surroundings and coarse pooled cells.

Paper:   Focal Self-attention for Local-Global Interactions in Vision Transformers, Yang et al. 2021, arXiv:2107.00641.
Source:  written from a description of the released models (MIT); parity with the released outputs is tested.
Differs: the parts are arguments. `drop_rate` is the classifier's dropout, as everywhere in timm; in the released
         constructor it sets `pos_drop_rate` and `proj_drop_rate`. The image size is fixed when the model is built, as
         released. Two options are our interpretation because the sources do not define them: `patch_norm` applies to
         the stem only, and `pre_norm_downsample` is a group norm with one group over all channels and pixels before
         each convolution between stages, instead of the layer norm after it; it does not change the stem.

Shapes:  B images, H x W map, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from timm.layers.weight_init import trunc_normal_
from torch import nn

from modelzoo.models.built_size import of_built_size
from modelzoo.models.focal.blocks import FocalStage, MapEmbed
from modelzoo.models.focal.checks import (
    EXPAND_LAYERS,
    POOL_INITS,
    StageOptions,
    check_choice,
    check_stages,
    per_stage,
)
from modelzoo.models.focal.pooling import POOLS, start_from_mean

__all__ = ["FocalTransformer"]


class FocalTransformer(nn.Module):
    """Focal Transformer for classification, with the methods of a timm pyramid.

    Args:
        img_size: Height and width of the images.
        window_size: Side of a window in tokens; a stage with a smaller map is a single window.
        focal_levels: Granularities per stage, the tokens included: 1 is plain window attention, 2 adds one pooled cell
            per window, 3 also 2 x 2 cells per window.
        focal_windows: Attended cells per axis at the coarsest level, per stage; odd.
        focal_pool: Pooling of a window into a cell: fc, conv, mean, max, or none for no pooled keys.
        focal_stages: Stages with pooled keys; None: all.
        pool_init: Initialisation of learned pooling (fc, conv): random, as released, or mean.
        expand_sizes: Width of a window's surroundings in tokens, per stage; 0: none.
        expand_layer: Blocks without expansion: odd, even, or all for none of them (values as released).
        shift: Shift the windows of every second block by half a window, as Swin does.
        conv_embed: Overlapping convolutions as stem and between stages.
        patch_norm: Whether the stem ends with a norm.
        pre_norm_downsample: Normalise before instead of after the convolution between stages.
        pos_embed: Add a learned absolute position embedding.
        layerscale_value: Initial layer scale of every branch; None: no layer scale.
        num_nearest_keys: None: version 1; else version 2 with this many keys per level, without expansion.

    Raises:
        SpecError: all problems of the arguments, stage by stage.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 4,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: int | Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        focal_levels: int | Sequence[int] = 2,
        focal_windows: int | Sequence[int] = (7, 5, 3, 1),
        focal_pool: str = "fc",
        focal_stages: Sequence[int] | None = None,
        pool_init: str = "random",
        expand_sizes: int | Sequence[int] = 3,
        expand_layer: str = "all",
        shift: bool = False,
        conv_embed: bool = False,
        patch_norm: bool = True,
        pre_norm_downsample: bool = False,
        pos_embed: bool = False,
        layerscale_value: float | None = None,
        num_nearest_keys: int | None = None,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        check_choice("focal_pool", focal_pool, [*POOLS, "none"])
        check_choice("pool_init", pool_init, POOL_INITS)
        check_choice("expand_layer", expand_layer, EXPAND_LAYERS)
        self.num_classes, self.in_chans = num_classes, in_chans
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else (img_size[0], img_size[1])
        self.pool_init = pool_init
        self.output_fmt = "NHWC"
        num_stages = len(depths)
        dims = [embed_dim * 2**index for index in range(num_stages)]
        self.num_features = self.head_hidden_size = dims[-1]
        self.feature_info = [
            {"num_chs": dim, "reduction": patch_size * 2**index, "module": f"layers.{index}.feature_map"}
            for index, dim in enumerate(dims)
        ]
        self.patch_embed = MapEmbed(
            in_chans, embed_dim, stride=patch_size, overlap=conv_embed, norm=patch_norm, **factory
        )
        downsamples = [
            MapEmbed(dim, 2 * dim, stride=2, overlap=conv_embed, norm_first=pre_norm_downsample, **factory)
            for dim in dims[:-1]
        ]
        grids = [self.patch_embed.grid(self.img_size)]
        for downsample in downsamples:
            grids.append(downsample.grid(grids[-1]))
        heads = per_stage("num_heads", num_heads, num_stages)
        levels = per_stage("focal_levels", focal_levels, num_stages)
        windows = per_stage("focal_windows", focal_windows, num_stages)
        expands = per_stage("expand_sizes", expand_sizes, num_stages)
        stages = [
            StageOptions(
                grid=grids[index],
                dim=dims[index],
                num_heads=heads[index],
                window_size=window_size,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                qk_scale=qk_scale,
                proj_drop=proj_drop_rate,
                attn_drop=attn_drop_rate,
                focal_level=levels[index],
                focal_window=windows[index],
                focal_pool=focal_pool if focal_stages is None or index in focal_stages else "none",
                expand_size=expands[index],
                expand_layer=expand_layer,
                shift=shift,
                num_nearest_keys=num_nearest_keys,
                layerscale_value=layerscale_value,
            )
            for index in range(num_stages)
        ]
        check_stages(stages)
        if pos_embed:
            self.absolute_pos_embed = nn.Parameter(torch.empty(1, grids[0][0] * grids[0][1], embed_dim, **factory))
        else:
            self.absolute_pos_embed = None
        self.pos_drop = nn.Dropout(pos_drop_rate)
        drop_path = torch.linspace(0, drop_path_rate, sum(depths), device="cpu").split(list(depths))
        self.layers = nn.ModuleList(
            FocalStage(stage, drop_path=rates.tolist(), downsample=downsample, **factory)
            for stage, rates, downsample in zip(stages, drop_path, [*downsamples, nn.Identity()], strict=True)
        )
        self.norm = nn.LayerNorm(self.num_features, **factory)
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, global_pool)
        self.init_weights()

    @property
    def _stages(self) -> list[FocalStage]:
        return [stage for stage in self.layers if isinstance(stage, FocalStage)]

    def init_weights(self) -> None:
        """Initialise as released: truncated normal of std 0.02 for linear layers; PyTorch's own for convolutions."""
        if self.absolute_pos_embed is not None:
            trunc_normal_(self.absolute_pos_embed, std=0.02)
        for module in self.modules():
            _init_linear(module)
            if self.pool_init == "mean":
                start_from_mean(module)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay: position embeddings and position biases."""
        return {
            name
            for name, _ in self.named_parameters()
            if "relative_position_bias_table" in name or name == "absolute_pos_embed"
        }

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Parameter groups by depth, for layer-wise learning rates."""
        stages = r"^layers\.(\d+)"
        # A downsampling layer follows the blocks of its stage.
        fine = [(r"^layers\.(\d+)\.downsample", (99998,)), (r"^layers\.(\d+)\.\w+\.(\d+)", None), (r"^norm", (99999,))]
        return {"stem": r"^patch_embed|^absolute_pos_embed", "blocks": stages if coarse else fine}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations."""
        for stage in self._stages:
            stage.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head; 0 classes leave the features. Pooling stays unless another is given, '' for none."""
        pool_type = self.global_pool.pool_type if global_pool is None else global_pool
        self.num_classes = num_classes
        self.global_pool = SelectAdaptivePool2d(pool_type=pool_type, flatten=bool(pool_type), input_fmt="NHWC")
        self.head = nn.Identity()
        if num_classes > 0:
            num_features, weight = self.num_features * self.global_pool.feat_mult(), self.patch_embed.proj.weight
            self.head = nn.Linear(num_features, num_classes, device=weight.device, dtype=weight.dtype)
            _init_linear(self.head)
        self.global_pool.train(self.training)
        self.head.train(self.training)

    def _embed(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(of_built_size(x_BCHW, self.img_size))
        if self.absolute_pos_embed is not None:
            x = x + self.absolute_pos_embed.unflatten(1, x.shape[1:3])
        return self.pos_drop(x)

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[torch.Tensor] | tuple[torch.Tensor, list[torch.Tensor]]:
        """Final map (B, H, W, C) and the maps of the chosen stages, before the downsampling.

        Args:
            indices: The last n stages if int, all if None, else a list.
            norm: Apply the final norm to the last stage's map, the only one it fits.
            output_fmt: NCHW or NHWC, of the intermediate maps.
        """
        assert output_fmt in ("NCHW", "NHWC"), "output_fmt must be NCHW or NHWC"
        taken = _taken(indices, len(self.layers))
        x = self._embed(x)
        maps = []
        stages = self._stages[: max(taken) + 1] if stop_early else self._stages
        for index, stage in enumerate(stages):
            x = stage(x)
            if index in taken:
                kept = self.norm(x) if norm and index == len(self.layers) - 1 else x
                maps.append(kept.permute(0, 3, 1, 2).contiguous() if output_fmt == "NCHW" else kept)
            if index < len(stages) - 1:
                x = stage.coarser(x)
        if intermediates_only:
            return maps
        return (self.norm(x) if len(stages) == len(self.layers) else x), maps

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the layers that the chosen intermediates do not need; return their indices."""
        taken = _taken(indices, len(self.layers))
        is_cut = max(taken) < len(self.layers) - 1
        self.layers = self.layers[: max(taken) + 1]
        self._stages[-1].downsample = nn.Identity()
        self.num_features = self.head_hidden_size = self.feature_info[max(taken)]["num_chs"]
        if prune_norm or is_cut:
            self.norm = nn.Identity()
        if prune_head or is_cut:
            self.reset_classifier(0, "")
        return taken

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Last stage's map (B, H, W, C) after the final norm."""
        x = self._embed(x)
        for index, stage in enumerate(self._stages):
            x = stage(x)
            if index < len(self.layers) - 1:
                x = stage.coarser(x)
        return self.norm(x)

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits, or pooled features with `pre_logits`; without pooling those of every position."""
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.head(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class logits: (B, in_chans, H, W) -> (B, num_classes)."""
        return self.forward_head(self.forward_features(x))


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _taken(indices: int | Sequence[int] | None, num_stages: int) -> list[int]:
    """Indices of intermediates as in timm: the last n if int, all if None, else a list, negative from the end."""
    if indices is None:
        return list(range(num_stages))
    chosen = range(num_stages - indices, num_stages) if isinstance(indices, int) else indices
    if not chosen or not all(-num_stages <= index < num_stages for index in chosen):
        raise ValueError(f"the model has {num_stages} stages, but got indices={indices!r}")
    return [index % num_stages for index in chosen]
