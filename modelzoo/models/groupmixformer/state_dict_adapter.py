"""Adapter of the released GroupMixFormer: builds the model from the released constructor's arguments; equal state keys.

Source:  the released constructor's list of arguments and the layout of its checkpoints (MIT).
Differs: `in_channels` is an alias of `in_dim`. Attention dropout is accepted and ignored, as released.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from modelzoo.attention.contract import Slot
from modelzoo.models.adapter_checks import REQUIRED, complete
from modelzoo.models.groupmixformer.blocks import GroupMixBlock
from modelzoo.models.groupmixformer.model import GroupMixFormer
from search_space.parsing.errors import Problem, SpecError

__all__ = ["build_official", "build_official_block", "build_official_variant"]

DEFAULTS: dict[str, Any] = {
    "in_dim": 3,
    "num_stages": 4,
    "num_classes": 1000,
    "embedding_dims": (80, 160, 320, 320),
    "serial_depths": (2, 4, 12, 4),
    "num_heads": 8,
    "mlp_ratios": (4, 4, 4, 4),
    "qkv_bias": True,
    "qk_scale": None,
    "drop_rate": 0.0,
    "drop_path_rate": 0.2,
    "return_interm_layers": False,
}
UNUSED = ("attn_drop_rate", "out_features", "patch_size", "pretrained")
BLOCK_DEFAULTS: dict[str, Any] = {
    "dim": REQUIRED,
    "num_heads": REQUIRED,
    "mlp_ratio": 4.0,
    "qkv_bias": False,
    "qk_scale": None,
    "drop": 0.0,
    "drop_path_rate": 0.0,
    "aggregator_kernels": (3, 5, 7),
    "crpe_windows": {"3": 2, "5": 3, "7": 3},
}
# Attention dropout, and descriptive entries of the recorded cases.
BLOCK_UNUSED = ("attn_drop", "block_norm", "cpe", "input_scale", "mlp_activation", "scaled_down")
NUM_HEADS = 8


class ReleasedGroupMixFormer(GroupMixFormer):
    """GroupMixFormer with the released output: the maps of all stages if `return_interm_layers`."""

    returns_maps = False

    def forward(self, x: torch.Tensor) -> Any:
        return self.stage_maps(x) if self.returns_maps else super().forward(x)


def build_official(config: Mapping[str, Any]) -> nn.Module:
    """Build the released model from its constructor arguments; missing ones have the released defaults.

    Raises:
        SpecError: unknown arguments, or incompatible values.
    """
    return _build("groupmixformer", config, UNUSED)


def build_official_variant(config: Mapping[str, Any]) -> nn.Module:
    """Build the released model from a configuration that also contains its `variant`; see `build_official`."""
    return _build("groupmixformer_variant", config, (*UNUSED, "variant"))


def _build(system: str, config: Mapping[str, Any], unused: tuple[str, ...]) -> nn.Module:
    config = dict(config)
    if "in_channels" in config:
        if "in_dim" in config:
            raise SpecError(Problem(f"{system}: in_channels and in_dim are the same argument", hint="give one of them"))
        config["in_dim"] = config.pop("in_channels")
    given = complete(system, config, DEFAULTS, unused)
    dims, depths, stages = list(given["embedding_dims"]), list(given["serial_depths"]), given["num_stages"]
    _check(system, given, stages)
    # The released rates increase over all listed blocks, including those of stages that are not built.
    rates = torch.linspace(0, given["drop_path_rate"], sum(depths), device="cpu").tolist()
    model = ReleasedGroupMixFormer(
        in_chans=given["in_dim"],
        num_classes=0 if given["return_interm_layers"] else given["num_classes"],
        embed_dims=dims[:stages],
        depths=depths[:stages],
        num_heads=given["num_heads"],
        mlp_ratios=list(given["mlp_ratios"])[:stages],
        qkv_bias=given["qkv_bias"],
        qk_scale=given["qk_scale"],
        crpe_windows={3: 2, 5: 3, 7: 3},
        proj_drop_rate=given["drop_rate"],
        drop_path_rate=rates,
    )
    model.returns_maps = given["return_interm_layers"]
    if model.returns_maps:
        model.norm4 = nn.Identity()
    return model


def build_official_block(config: Mapping[str, Any]) -> nn.Module:
    """Build one released block, which maps (tokens, (height, width)) to tokens."""
    given = complete("gma_block", config, BLOCK_DEFAULTS, BLOCK_UNUSED)
    slot = Slot(dim=given["dim"], num_heads=given["num_heads"], qkv_bias=given["qkv_bias"], proj_drop=given["drop"])
    return GroupMixBlock(
        slot,
        mlp_ratio=given["mlp_ratio"],
        drop_path=given["drop_path_rate"],
        qk_scale=given["qk_scale"],
        kernel_sizes=tuple(given["aggregator_kernels"]),
        # JSON keys are always text.
        crpe_windows={int(window): heads for window, heads in given["crpe_windows"].items()},
    )


def _check(system: str, given: Mapping[str, Any], stages: int) -> None:
    problems = [
        Problem(f"{system}: num_stages={stages} needs as many {name}, but got {list(given[name])!r}")
        for name in ("embedding_dims", "serial_depths", "mlp_ratios")
        if len(given[name]) < stages
    ]
    if given["num_heads"] != NUM_HEADS:
        problems.append(
            Problem(
                f"{system}: num_heads must be {NUM_HEADS}, but got {given['num_heads']!r}",
                hint="the released position term has windows for 2 + 3 + 3 heads",
            )
        )
    # The released norm and head have the width of the fourth entry, independent of the last stage.
    dims = list(given["embedding_dims"])
    if not problems and not given["return_interm_layers"] and dims[3:4] != dims[stages - 1 : stages]:
        problems.append(
            Problem(
                f"{system}: the released head is as wide as embedding_dims[3], but num_stages={stages} "
                f"ends with {dims[stages - 1]} of {dims!r}",
                hint="write return_interm_layers: true for a model without head",
            )
        )
    if problems:
        raise SpecError(problems)
