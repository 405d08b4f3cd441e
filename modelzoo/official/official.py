"""Modules and models of the official implementations, from their constructor arguments and state dicts.

The basis of the parity tests, therefore strict: unknown arguments, missing or unexpected weights and different shapes
are errors. `config` has the format of the golden cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from modelzoo.models.adapter_checks import same_keys
from modelzoo.models.deepvit import state_dict_adapter as deepvit_official
from modelzoo.models.focal import state_dict_adapter as focal_official
from modelzoo.models.groupmixformer import state_dict_adapter as groupmixformer_official
from modelzoo.models.refined_vit import state_dict_adapter as refined_vit_official
from modelzoo.models.regionvit import state_dict_adapter as regionvit_official
from modelzoo.official import modules as official_modules
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["SYSTEMS", "from_official"]


def from_official(system: str, config: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """Build the module of an official `system` with its weights, in training mode.

    Complete models have the official outputs, also in training mode: Refined-ViT returns (logits, patch logits, box),
    and with `cos_reg` the blocks' maps. Modules: `dla` takes maps; `reattention`, `refined_attention` and `gma_module`
    have `attend` besides `forward`; `refined_block` takes (tokens, map of the previous block) and returns both,
    `gma_block` takes (tokens, (height, width)).

    Args:
        config: Arguments of the official constructor; missing ones have the official defaults.
        state_dict: The complete official state dict.

    Raises:
        SpecError: all problems at once: unknown system or argument, missing or unexpected key, wrong shape.
    """
    if system not in SYSTEMS:
        raise SpecError(Problem(f"unknown system {system!r}", hint=did_you_mean(system, SYSTEMS)))
    official = SYSTEMS[system]
    module = official.build(config)
    module.load_state_dict(official.own_state(state_dict, module))
    return module


@dataclass(frozen=True)
class System:
    """Official system: builder from its arguments, and converter of its state dict."""

    build: Callable[[Mapping[str, Any]], nn.Module]
    own_state: Callable[[Mapping[str, torch.Tensor], nn.Module], Mapping[str, torch.Tensor]]


def _with_official_keys(name: str, build: Callable[[Mapping[str, Any]], nn.Module]) -> System:
    return System(build, partial(same_keys, name))


SYSTEMS: dict[str, System] = {
    "focal_transformer": System(focal_official.build_official, focal_official.official_state),
    "regionvit": System(regionvit_official.build_official, regionvit_official.official_state),
    **{
        name: _with_official_keys(name, build)
        for name, build in {
            "deepvit": deepvit_official.build_official,
            "deepvit_stem": deepvit_official.build_official_stem,
            "dla": official_modules.build_dla,
            "gma_block": groupmixformer_official.build_official_block,
            "gma_module": official_modules.build_gma_module,
            "groupmixformer": groupmixformer_official.build_official,
            "groupmixformer_variant": groupmixformer_official.build_official_variant,
            "reattention": official_modules.build_reattention,
            "refined_attention": official_modules.build_refined_attention,
            "refined_block": refined_vit_official.build_official_block,
            "refined_vit": refined_vit_official.build_official,
            "refined_vit_stem": refined_vit_official.build_official_stem,
        }.items()
    },
}
