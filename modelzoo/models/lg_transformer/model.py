"""LG-Transformer: Swin with window attention at several resolutions per stage; our interpretation of a paper without
code.

Paper:   Local-to-Global Self-Attention in Vision Transformers, Li et al. 2021, arXiv:2107.04735.
Source:  no code was released, and the full text was not available. Known are the abstract (hierarchical, windowed,
         several paths per stage that reason from local to global) and, from a table of another paper (DHVT), LG-T:
         32.6M parameters, 4.8 GFLOPs, 82.1 % ImageNet top-1 at 224 pixels.
Differs: unknown. Inferred here from the counts: Swin-T and Swin-S are the skeleton; each further path has its own qkv,
         output projection and position table and shares norms and MLP; the numbers of paths per stage are 3, 3, 2, 1;
         their grids are 56, 14, 7 / 28, 14, 7 / 14, 7 / 7. Of the choices tried, only these give 32.60M and 61.04M
         parameters, 4.78 and 9.40 GMACs. The published counts of LG-S (61.0M, 9.4) are from memory, not verified.
         Chosen here, without evidence: mean pooling, bilinear interpolation, the sum of the paths, no shift in coarse
         paths, Swin's initialisation and stochastic depth. The paper's accuracies therefore do not apply to this model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from timm.models.swin_transformer import SwinTransformer, SwinTransformerStage, resolve_stage_window_sizes
from torch import nn

from modelzoo.models.lg_transformer.blocks import LocalToGlobalBlock
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["LGTransformer"]

CHOICES = {
    "fusion": ("concat", "sum"),
    "shift_paths": ("all", "local", "none"),
    "upsample": ("bilinear", "nearest"),
}


class LGTransformer(SwinTransformer):
    """timm's Swin with `LocalToGlobalBlock` instead of its blocks.

    Args:
        paths: Reductions of the paths of each stage, relative to its grid; `((1,), (1,), (1,), (1,))` is Swin. The
            reductions determine whether a stage is local, global or mixed.
        fusion, shift_paths, upsample: As in `LocalToGlobalBlock`.
        skeleton: Further arguments of timm's SwinTransformer.
    """

    def __init__(
        self,
        *,
        paths: Sequence[Sequence[int]] = ((1, 4, 8), (1, 2, 4), (1, 2), (1,)),
        fusion: str = "sum",
        shift_paths: str = "local",
        upsample: str = "bilinear",
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        head_dim: int | None = None,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        always_partition: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **skeleton: Any,
    ) -> None:
        _check_paths(paths, depths, {"fusion": fusion, "shift_paths": shift_paths, "upsample": upsample})
        # Stem, merging, norm and head are timm's; with depth 0, it does not build blocks that would be replaced.
        super().__init__(
            depths=(0,) * len(depths),
            num_heads=tuple(num_heads),
            head_dim=head_dim,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            proj_drop_rate=proj_drop_rate,
            attn_drop_rate=attn_drop_rate,
            drop_path_rate=0.0,
            always_partition=always_partition,
            device=device,
            dtype=dtype,
            **skeleton,
        )
        # On the CPU, even if the model is built on the meta device.
        rates = torch.linspace(0, drop_path_rate, sum(depths), device="cpu")
        drop_paths = [stage_rates.tolist() for stage_rates in rates.split(list(depths))]
        windows = resolve_stage_window_sizes(skeleton.get("window_size", 7), len(depths))
        for index, module in enumerate(self.layers):
            stage = cast(SwinTransformerStage, module)
            window, (rows, columns) = windows[index], stage.output_resolution
            stage.depth = depths[index]
            stage.blocks = nn.Sequential(
                *(
                    LocalToGlobalBlock(
                        self.feature_info[index]["num_chs"],
                        (rows, columns),
                        num_heads[index],
                        window,
                        reductions=paths[index],
                        shift=(window[0] // 2, window[1] // 2) if block % 2 else (0, 0),
                        shift_paths=shift_paths,
                        fusion=fusion,
                        upsample=upsample,
                        head_dim=head_dim,
                        mlp_ratio=mlp_ratio,
                        qkv_bias=qkv_bias,
                        proj_drop=proj_drop_rate,
                        attn_drop=attn_drop_rate,
                        drop_path=drop_paths[index][block],
                        always_partition=always_partition,
                        dynamic_mask=self.dynamic_img_size,
                        device=device,
                        dtype=dtype,
                    )
                    for block in range(depths[index])
                )
            )
            stage.blocks.apply(_init_linear)


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check_paths(paths: Sequence[Sequence[int]], depths: Sequence[int], choices: dict[str, str]) -> None:
    problems = [
        Problem(
            f"LGTransformer: unknown {name} {value!r}",
            hint=did_you_mean(str(value), CHOICES[name]),
        )
        for name, value in choices.items()
        if value not in CHOICES[name]
    ]
    if len(paths) != len(depths):
        problems.append(
            Problem(f"LGTransformer: paths needs one entry per stage, {len(depths)} as in depths, but got {len(paths)}")
        )
    for stage, reductions in enumerate(paths):
        if not reductions or min(reductions) < 1 or len(set(reductions)) < len(reductions):
            problems.append(
                Problem(
                    f"LGTransformer: the paths of stage {stage} must be distinct reductions of at least 1, "
                    f"but got {tuple(reductions)!r}",
                    hint="for example (1, 4, 8): full resolution, a quarter, an eighth",
                )
            )
    if problems:
        raise SpecError(problems)
