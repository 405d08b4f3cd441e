"""RegionViT: a pyramid with window attention of local tokens and global attention of regional tokens.

Paper:   RegionViT: Regional-to-Local Attention for Vision Transformers, Chen et al. 2022, arXiv:2106.02689.
Source:  written from a description of the released model (Apache-2.0); parity with it is tested.
Differs: the parts are arguments: the source of regional tokens, regional attention, weight sharing, position bias, PEG
         and corner mask. `drop_rate` is the classifier's dropout, as everywhere in timm; in the released constructor it
         sets `pos_drop_rate` and `proj_drop_rate`.
         Our interpretation, because the sources do not define it: all linear weights and position tables are
         initialised by a truncated normal of std 0.02, convolutions as in PyTorch; `pos_drop_rate` applies to both
         kinds of tokens; images are resized and cropped as for DeiT (bicubic, 0.875).
Note:    the last block's position table has no effect on the logits, which depend on regional tokens only: its gradient
         is exactly zero.

Shapes:  B images, D channels, H x W local map, R x S regional map, N tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from timm.layers.pool1d import global_pool_nlc
from torch import nn

from modelzoo.models.regionvit.blocks import NORM_EPS, RegionViTStage
from modelzoo.models.regionvit.checks import check_choices, check_options, per_stage
from modelzoo.models.regionvit.tokens import ChannelNorm, LearnedRegions, RegionalConv, build_stem

__all__ = ["RegionViT"]


class RegionViT(nn.Module):
    """RegionViT for images of any size; `img_size` only sets the number of tokens of `regional_tokens='grid'`.

    Args:
        embed_dim: Channels of the stem and of each stage; a single number applies to the stem and the first stage and
            is doubled from stage to stage.
        num_heads: Heads per stage; a single number applies to the first stage and is doubled from stage to stage.
        window_size, mlp_ratio: One value, or one per stage.
        stem: Stem of local tokens: '3conv' (patch_size 4 only), '1conv' (overlapping) or 'linear' (disjoint patches).
        downsampling: Mode per stage: 'sc' (half the size, more channels) or 'c' (same size).
        regional_tokens: 'computed' from the image, learned ('shared': one for all regions; 'grid': one per region), or
            'none': window attention only, and logits from local tokens.
        regional_attention: Attention of regional tokens with the windows' weights ('shared'), with 'separate' ones, or
            'none'.
        share_projection: Project regional and local maps between stages by the same weights.
        rel_pos: Position bias in windows.
        peg: Position encoding generator, a depthwise convolution after the first block of each stage.
        corner: Padding mask of the bottom right window, 'union' as released or 'intersection'.
        det_norm: Normalise the local maps of `forward_intermediates`; the logits do not change. Hooks on the modules of
            `feature_info` see them before this norm.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 4,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        embed_dim: int | Sequence[int] = (64, 64, 128, 256, 512),
        depths: Sequence[int] = (2, 2, 8, 2),
        num_heads: int | Sequence[int] = (2, 4, 8, 16),
        window_size: int | Sequence[int] = 7,
        mlp_ratio: float | Sequence[float] = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        stem: str = "3conv",
        downsampling: Sequence[str] = ("c", "sc", "sc", "sc"),
        regional_tokens: str = "computed",
        regional_attention: str = "shared",
        share_projection: bool = True,
        rel_pos: bool = True,
        peg: bool = False,
        corner: str = "union",
        det_norm: bool = False,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        doubled = [2**stage for stage in range(len(depths))]
        if isinstance(embed_dim, int):
            embed_dim = (embed_dim, *(embed_dim * factor for factor in doubled))
        if isinstance(num_heads, int):
            num_heads = [num_heads * factor for factor in doubled]
        window_sizes, mlp_ratios = per_stage(window_size, len(depths)), per_stage(mlp_ratio, len(depths))
        check_options(
            patch_size=patch_size,
            embed_dim=embed_dim,
            depths=depths,
            num_heads=num_heads,
            window_sizes=window_sizes,
            mlp_ratios=mlp_ratios,
            downsampling=downsampling,
            stem=stem,
            regional_tokens=regional_tokens,
            regional_attention=regional_attention,
            corner=corner,
            global_pool=global_pool,
        )
        regional = regional_tokens != "none"
        self.in_chans, self.num_classes, self.global_pool = in_chans, num_classes, global_pool
        self.num_features = self.head_hidden_size = embed_dim[-1]
        self.patch_embed = build_stem(stem, in_chans, embed_dim[0], patch_size, **factory)
        region_size = patch_size * window_sizes[0]
        self.cls_token = _region_source(regional_tokens, img_size, in_chans, embed_dim[0], region_size, **factory)
        self.pos_drop = nn.Dropout(pos_drop_rate)
        # On the CPU, even if the model is built on the meta device.
        rates = torch.linspace(0, drop_path_rate, sum(depths), device="cpu")
        drop_paths = [stage_rates.tolist() for stage_rates in rates.split(list(depths))]
        self.layers = nn.ModuleList(
            RegionViTStage(
                embed_dim[stage],
                embed_dim[stage + 1],
                num_heads[stage],
                window_sizes[stage],
                drop_path=drop_paths[stage],
                downsampling=downsampling[stage],
                regional=regional,
                share_projection=share_projection,
                peg=peg,
                corner=corner,
                mlp_ratio=mlp_ratios[stage],
                qkv_bias=qkv_bias,
                qk_scale=qk_scale,
                attn_drop=attn_drop_rate,
                proj_drop=proj_drop_rate,
                regional_attention=regional_attention if regional else "none",
                rel_pos=rel_pos,
                **factory,
            )
            for stage in range(len(depths))
        )
        self.det_norm = det_norm
        if det_norm:
            for stage, dim in enumerate(embed_dim[1:]):
                self.add_module(f"norm{stage}", ChannelNorm(dim, **factory))
        halvings = [sum(mode == "sc" for mode in downsampling[: stage + 1]) for stage in range(len(depths))]
        self.feature_info = [
            {
                "num_chs": embed_dim[stage + 1],
                "reduction": patch_size * 2 ** halvings[stage],
                "module": f"layers.{stage}.feature_map",
            }
            for stage in range(len(depths))
        ]
        self.norm = nn.LayerNorm(self.num_features, eps=NORM_EPS, **factory)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = nn.Linear(self.num_features, num_classes, **factory) if num_classes > 0 else nn.Identity()
        self.apply(_init_linear)

    def no_weight_decay(self) -> set[str]:
        return {"cls_token.token"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        return {
            "stem": r"^patch_embed|^cls_token",
            "blocks": r"^layers\.(\d+)"
            if coarse
            else [
                (r"^layers\.(\d+)\.block\.(\d+)", None),
                (r"^layers\.(\d+)\.peg", (1,)),
                (r"^norm", (99999,)),
            ],
        }

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        for stage in self.layers:
            cast(RegionViTStage, stage).grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head; 0 classes leave the features. Pooling stays unless another is given, '' for none."""
        check_choices(global_pool=self.global_pool if global_pool is None else global_pool)
        self.num_classes = num_classes
        if global_pool is not None:
            self.global_pool = global_pool
        self.head = nn.Identity()
        if num_classes > 0:
            weight = next(self.parameters())
            self.head = nn.Linear(self.num_features, num_classes, device=weight.device, dtype=weight.dtype)
            self.head.apply(_init_linear)
        self.head.train(self.training)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the stages after the last of `indices`; return the indices as non-negative numbers."""
        kept, last = _taken(indices, len(self.layers))
        is_cut = last < len(self.layers) - 1
        if self.det_norm:
            for stage in range(last + 1, len(self.layers)):
                delattr(self, f"norm{stage}")
        self.layers = self.layers[: last + 1]
        if is_cut:
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
        if prune_norm or is_cut:
            self.norm = nn.Identity()
        if prune_head or is_cut:
            self.reset_classifier(0, "")
        return kept

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[torch.Tensor] | tuple[torch.Tensor, list[torch.Tensor]]:
        """Final tokens and local maps of the stages, normalised if `det_norm`; `norm` is ignored, because the final
        norm is for tokens."""
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be 'NCHW', but got {output_fmt!r}")
        take, last = _taken(indices, len(self.layers))
        stages = self.layers[: last + 1] if stop_early else self.layers
        maps = []
        regional, local = self._embed(x)
        for index, stage in enumerate(stages):
            regional, local = stage(regional, local)
            if index in take:
                maps.append(getattr(self, f"norm{index}")(local) if self.det_norm else local)
        if intermediates_only:
            return maps
        tokens = _tokens(regional, local)
        return (self.norm(tokens) if len(stages) == len(self.layers) else tokens), maps

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised regional tokens (B, N, D) of the last stage; local tokens without regional ones."""
        regional, local = self._embed(x)
        for stage in self.layers:
            regional, local = stage(regional, local)
        return self.norm(_tokens(regional, local))

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        x = self.head_drop(global_pool_nlc(x, self.global_pool, num_prefix_tokens=0))
        return x if pre_logits else self.head(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))

    def _embed(self, image: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        local = self.pos_drop(self.patch_embed(image))
        regional = None if self.cls_token is None else self.pos_drop(self.cls_token(image))
        return regional, local


def _region_source(
    kind: str, img_size: int | tuple[int, int], in_chans: int, dim: int, region_size: int, **factory: Any
) -> nn.Module | None:
    if kind == "none":
        return None
    if kind == "computed":
        return RegionalConv(in_chans, dim, region_size, **factory)
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    native_size = (-(-height // region_size), -(-width // region_size)) if kind == "grid" else None
    return LearnedRegions(dim, region_size, native_size, **factory)


def _tokens(regional: torch.Tensor | None, local: torch.Tensor) -> torch.Tensor:
    return (local if regional is None else regional).flatten(2).transpose(1, 2)


def _taken(indices: int | Sequence[int] | None, count: int) -> tuple[list[int], int]:
    """Feature indices as in timm (all if None, the last n if int, else a list, negative from the end), and the largest
    one."""
    if indices is None:
        indices = count
    chosen = list(range(count - indices, count)) if isinstance(indices, int) else [i + count * (i < 0) for i in indices]
    if not chosen or min(chosen) < 0 or max(chosen) >= count:
        raise ValueError(f"feature indices must be within {count} stages, but got {indices!r}")
    return chosen, max(chosen)


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
