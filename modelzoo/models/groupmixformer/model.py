"""GroupMixFormer: a convolutional pyramid of Group-Mix attention.

Paper:   Advancing Vision Transformers with Group-Mix Attention, Ge et al. 2023, arXiv:2311.15157.
Source:  written from a description of the released model (MIT); parity with it is tested.
Differs: the parts are arguments; any number of stages; images of any size. `drop_rate` is the classifier's dropout, as
         everywhere in timm; in the released constructor it sets `proj_drop_rate`. Attention dropout, which the release
         accepts and ignores, is applied here.

Shapes:  B images, C channels, H x W map, N tokens (H * W), K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import nn

from modelzoo.attention.contract import Slot
from modelzoo.models.block_indices import taken_indices
from modelzoo.models.groupmixformer.blocks import GroupMixBlock, GroupMixStage, PatchEmbedding, Stem
from search_space.parsing.errors import Problem, SpecError

__all__ = ["GroupMixFormer"]


class GroupMixFormer(nn.Module):
    """GroupMixFormer for classification, with the methods of a timm pyramid.

    Args:
        img_size: Accepted for a uniform interface; the network processes images of any size.
        embed_dims, depths, mlp_ratios: One value per stage.
        num_heads: One value for all stages, or one per stage.
        qk_scale: Scale of the attention instead of (dim // num_heads) ** -0.5.
        groupmix: Options of the attention, as in a sweep's `arch.attention`, and `crpe_windows`.

    Raises:
        SpecError: lists of different lengths, or sizes that the attention does not support.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] | None = None,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        *,
        embed_dims: Sequence[int] = (80, 160, 320, 320),
        depths: Sequence[int] = (2, 4, 12, 4),
        num_heads: int | Sequence[int] = 8,
        mlp_ratios: Sequence[float] = (4, 4, 4, 4),
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        layer_norm_eps: float = 1e-6,
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float | Sequence[float] = 0.2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **groupmix: Any,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        heads = [num_heads] * len(depths) if isinstance(num_heads, int) else list(num_heads)
        _check_lengths({"depths": depths, "embed_dims": embed_dims, "mlp_ratios": mlp_ratios, "num_heads": heads})
        self.img_size, self.in_chans, self.num_classes = img_size, in_chans, num_classes
        self.output_fmt = "NCHW"
        self.num_features = self.head_hidden_size = embed_dims[-1]
        self.feature_info = [
            {"num_chs": dim, "reduction": 4 * 2**index, "module": f"groupmixformer_backbone.{index}"}
            for index, dim in enumerate(embed_dims)
        ]
        self.conv_stem = Stem(in_chans, embed_dims[0], **factory)
        self.patch_embed_layers = nn.ModuleList(
            PatchEmbedding(embed_dims[max(index - 1, 0)], dim, stride=2 if index else 1, **factory)
            for index, dim in enumerate(embed_dims)
        )
        # On the CPU, even if the model is built on the meta device.
        rates = _drop_path_rates(drop_path_rate, sum(depths))
        self.groupmixformer_backbone = nn.ModuleList(
            GroupMixStage(
                [
                    GroupMixBlock(
                        Slot(
                            dim=embed_dims[index],
                            num_heads=heads[index],
                            qkv_bias=qkv_bias,
                            attn_drop=attn_drop_rate,
                            proj_drop=proj_drop_rate,
                            **factory,
                        ),
                        mlp_ratio=mlp_ratios[index],
                        drop_path=rates[sum(depths[:index]) + block],
                        layer_norm_eps=layer_norm_eps,
                        qk_scale=qk_scale,
                        **groupmix,
                    )
                    for block in range(depths[index])
                ]
            )
            for index in range(len(depths))
        )
        self.norm4: nn.Module = nn.BatchNorm2d(embed_dims[-1], **factory)
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, global_pool)
        self.init_weights()

    def init_weights(self) -> None:
        """Initialise as released: truncated normal of std 0.02 for linear layers; torch's own for the others."""
        self.apply(_init_linear)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay: none besides norms and biases, which timm excludes itself."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Parameter groups by depth, for layer-wise learning rates; a patch embedding belongs to the stage after it."""
        coarse_blocks = r"^(?:groupmixformer_backbone|patch_embed_layers)\.(\d+)"
        fine = [
            (r"^patch_embed_layers\.(\d+)", (0,)),
            (r"^groupmixformer_backbone\.(\d+)\.gma_stage\.(\d+)", None),
            (r"^norm4", (99999,)),
        ]
        return {"stem": r"^conv_stem", "blocks": coarse_blocks if coarse else fine}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass; its batch norms are then updated twice per batch."""
        for stage in self.groupmixformer_backbone:
            assert isinstance(stage, GroupMixStage)
            stage.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head; 0 classes leave the features. Pooling stays unless another is given, '' for none."""
        pool_type = self.global_pool.pool_type if global_pool is None else global_pool
        self.num_classes = num_classes
        self.global_pool = SelectAdaptivePool2d(pool_type=pool_type, flatten=bool(pool_type))
        self.head = nn.Identity()
        if num_classes > 0:
            num_features, weight = self.num_features * self.global_pool.feat_mult(), self.conv_stem.proj1.weight
            self.head = nn.Linear(num_features, num_classes, device=weight.device, dtype=weight.dtype)
            _init_linear(self.head)
        self.global_pool.train(self.training)
        self.head.train(self.training)

    def _stage(self, index: int, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.groupmixformer_backbone[index](self.patch_embed_layers[index](x_BCHW))

    def stage_maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps (B, C, H, W) at the end of every stage, without norm, as for detectors."""
        x = self.conv_stem(x)
        maps = []
        for index in range(len(self.groupmixformer_backbone)):
            x = self._stage(index, x)
            maps.append(x)
        return maps

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Final map after its norm, and the maps of the chosen stages.

        Args:
            indices: The last n stages if int, all if None, else a list.
            norm: Apply the final norm to the last stage's map, the only one it fits.
        """
        assert output_fmt == "NCHW", "Output format must be NCHW."
        taken = taken_indices(indices, len(self.groupmixformer_backbone))
        last = len(self.groupmixformer_backbone) - 1
        x = self.conv_stem(x)
        maps = []
        end = max(taken) if stop_early else last
        for index in range(end + 1):
            x = self._stage(index, x)
            if index in taken:
                maps.append(self.norm4(x) if norm and index == last else x)
        if intermediates_only:
            return maps
        return (self.norm4(x) if end == last else x), maps

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove the layers that the chosen intermediates do not need; return their indices."""
        taken = taken_indices(indices, len(self.groupmixformer_backbone))
        is_cut = max(taken) < len(self.groupmixformer_backbone) - 1
        self.groupmixformer_backbone = self.groupmixformer_backbone[: max(taken) + 1]
        self.patch_embed_layers = self.patch_embed_layers[: max(taken) + 1]
        self.num_features = self.head_hidden_size = self.feature_info[max(taken)]["num_chs"]
        if prune_norm or is_cut:
            self.norm4 = nn.Identity()
        if prune_head or is_cut:
            self.reset_classifier(0, "")
        return taken

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Last stage's map (B, C, H, W) after the final norm."""
        return self.norm4(self.stage_maps(x)[-1])

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Logits, or pooled features with `pre_logits`; without pooling those of every position."""
        x = self.head_drop(self.global_pool(x))
        if pre_logits:
            return x
        return self.head(x) if self.global_pool.pool_type else self.head(x.movedim(1, -1)).movedim(-1, 1)

    def forward(self, x: torch.Tensor) -> Any:
        """Class logits: (B, in_chans, height, width) -> (B, K)."""
        return self.forward_head(self.forward_features(x))


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _drop_path_rates(rate: float | Sequence[float], num_blocks: int) -> list[float]:
    if isinstance(rate, int | float):
        return torch.linspace(0, rate, num_blocks, device="cpu").tolist()
    return list(rate)


def _check_lengths(per_stage: Mapping[str, Sequence[Any]]) -> None:
    lengths = {name: len(values) for name, values in per_stage.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise SpecError(Problem(f"GroupMixFormer needs one value per stage in each list, but got {shown}"))
