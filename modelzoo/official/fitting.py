"""A state dict under the names and in the shapes of a model: prefixes, released names, other sizes and channels.

What timm does with its own pretrained weights, by timm's functions: position embeddings, tables of relative positions
and patch embeddings of another size are resampled, and the first convolution is summed or repeated over other numbers
of channels. Classifiers are left as they are: whether theirs fits is the caller's question.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from timm.models import adapt_input_conv
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from modelzoo.models.focal.model import FocalTransformer
from modelzoo.models.focal.state_dict_adapter import released_state as focal_state
from modelzoo.models.regionvit.model import RegionViT
from modelzoo.models.regionvit.state_dict_adapter import released_state as regionvit_state
from modelzoo.models.resampled_positions import resampled_positions, with_resampled_tables
from modelzoo.official.prefixes import without_prefixes
from search_space.parsing.errors import Problem, SpecError, reason_of

__all__ = ["Fitted", "classifier_names", "fitted"]

# The other models have the released names.
OWN_KEYS: dict[type[nn.Module], Callable[[Mapping[str, Any], nn.Module], Mapping[str, Tensor]]] = {
    FocalTransformer: focal_state,
    RegionViT: regionvit_state,
}
_BERT_POSITIONS = "embeddings.position_embeddings.weight"
_TABLE = "relative_position_bias_table"


@dataclass(frozen=True)
class Fitted:
    """Tensors of a file, as far as possible under the names and in the shapes of a model.

    Attributes:
        prefix: was before the names in the file.
        resized: names of the tensors that were resampled, or adapted to other channels.
    """

    tensors: dict[str, Tensor]
    prefix: str
    resized: tuple[str, ...] = ()


def fitted(state: Mapping[str, Tensor], model: nn.Module) -> Fitted:
    """The state of a file for a model, which may be on the meta device.

    Raises:
        SpecError: timm knows the layout, and cannot convert it.
    """
    ours = model.state_dict()
    found, prefix = without_prefixes({_todays_name(name): tensor for name, tensor in state.items()}, ours)
    if convert := OWN_KEYS.get(type(model)):
        found = dict(convert(found, model))
    if all(name in found and found[name].shape == tensor.shape for name, tensor in ours.items()):
        return Fitted(found, prefix)
    before = found
    if isinstance(model, VisionTransformer) and "pos_embed" in found and "pos_embed" in ours:
        found = {**found, "pos_embed": resampled_positions(found["pos_embed"], model)}
    found = _as_timm_converts(found, model)
    if _BERT_POSITIONS in found and _BERT_POSITIONS in ours:
        found = {**found, _BERT_POSITIONS: found[_BERT_POSITIONS][: len(ours[_BERT_POSITIONS])]}
    found = _with_channels(found, model, ours)
    resized = tuple(
        name for name, each in found.items() if name in ours and name in before and before[name].shape != each.shape
    )
    return Fitted(found, prefix, resized)


def classifier_names(model: nn.Module) -> tuple[str, ...]:
    """Names of a model's classifiers, as timm's configuration has them; `head` without one."""
    return _from_config(model, "classifier", "head")


def _as_timm_converts(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """By the filter that timm's model has for released files."""
    module = sys.modules[type(model).__module__]
    # By convention of timm's files; those of our own models have none.
    convert: Callable[..., Mapping[str, Tensor]] | None = getattr(module, "checkpoint_filter_fn", None)
    if convert is None:
        is_windowed = isinstance(model, SwinTransformer)
        return with_resampled_tables(state, model) if is_windowed else state
    # timm looks for the module of every table, and another mechanism may have taken its place.
    names = model.state_dict()
    aside = {name: tensor for name, tensor in state.items() if name.endswith(_TABLE) and name not in names}
    left = {name: tensor for name, tensor in state.items() if name not in aside}
    try:
        return {**convert(left, model), **aside}
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as err:
        text = f"timm cannot convert these weights for {type(model).__name__}: {reason_of(err)}"
        hint = "weights of another architecture or size do not fit"
        raise SpecError(Problem(text, path="arch.weights", hint=hint)) from err


def _with_channels(state: dict[str, Tensor], model: nn.Module, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with first convolutions for the channels of the model's images."""
    for module in _from_config(model, "first_conv", "patch_embed.proj"):
        name = f"{module}.weight"
        if name not in state or name not in ours:
            continue
        theirs, wanted = state[name], ours[name]
        if theirs.ndim != 4 or wanted.ndim != 4 or theirs.shape[1] == wanted.shape[1]:
            continue
        try:
            adapted = adapt_input_conv(wanted.shape[1], theirs, base_chans=theirs.shape[1])
        except NotImplementedError:  # as in timm: it stays fresh
            continue
        state = {**state, name: adapted}
    return state


def _from_config(model: nn.Module, key: str, default: str) -> tuple[str, ...]:
    config = getattr(model, "default_cfg", None) or {}
    names = config.get(key) or default
    return (names,) if isinstance(names, str) else tuple(names)


def _todays_name(name: str) -> str:
    """BERT's files of before 2019 have other names of a LayerNorm's weights."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
