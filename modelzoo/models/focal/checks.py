"""Checks of the Focal Transformer's arguments: values per stage, with all problems reported at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelzoo.legal_values import divisors, listed
from modelzoo.models.focal.pooling import cell_size
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["EXPAND_LAYERS", "POOL_INITS", "StageOptions", "check_choice", "check_stages", "per_stage"]

EXPAND_LAYERS = ("all", "even", "odd")
POOL_INITS = ("mean", "random")


@dataclass(frozen=True)
class StageOptions:
    """Options that the blocks of one stage share.

    Attributes:
        grid: Height and width of the stage's map.
        focal_level: Number of granularities, the tokens included; with focal_pool "none" there are only tokens.
        expand_layer: Blocks without expansion: "odd", "even", or "all" for none of them, as released.
        num_nearest_keys: None for version 1, else keys per level of the nearest-keys attention.
        layerscale_value: Initial layer scale of both branches, None for no layer scale.
    """

    grid: tuple[int, int]
    dim: int
    num_heads: int
    window_size: int
    mlp_ratio: float
    qkv_bias: bool
    qk_scale: float | None
    proj_drop: float
    attn_drop: float
    focal_level: int
    focal_window: int
    focal_pool: str
    expand_size: int
    expand_layer: str
    shift: bool
    num_nearest_keys: int | None
    layerscale_value: float | None


def per_stage(name: str, value: int | Sequence[int], num_stages: int) -> tuple[int, ...]:
    """Values per stage; a single number applies to all stages.

    Raises:
        SpecError: the number of values is not the number of stages.
    """
    if isinstance(value, int):
        return (value,) * num_stages
    if len(value) != num_stages:
        raise SpecError(
            Problem(
                f"{name} has {len(value)} values, but depths has {num_stages} stages",
                hint=f"write one value per stage, or one number for all; got {name}={list(value)!r}",
            )
        )
    return tuple(value)


def check_choice(name: str, value: str, legal: Sequence[str]) -> None:
    """Raise SpecError unless `value` is one of the legal names."""
    if value not in legal:
        raise SpecError(Problem(f"unknown {name} {value!r}", hint=did_you_mean(str(value), legal)))


def check_stages(stages: Sequence[StageOptions]) -> None:
    """Raise SpecError with all problems, stage by stage."""
    problems = [
        Problem(message, where=f"stage {index}", hint=hint)
        for index, stage in enumerate(stages)
        for message, hint in (_stage_problems(stage) or _nearest_problems(stage))
    ]
    if problems:
        raise SpecError(problems)


def _nearest_problems(stage: StageOptions) -> list[tuple[str, str]]:
    if stage.num_nearest_keys is None:
        return []
    height, width = stage.grid
    window_size = min(stage.window_size, height, width)
    found = []
    if height % window_size or width % window_size:
        relation = (
            "the nearest-keys attention needs windows that tile the map, "
            f"but got window_size={window_size} for {height}x{width} tokens"
        )
        found.append((relation, "choose img_size or window_size so that every map is a multiple of the window"))
    if stage.shift:
        found.append(("the nearest-keys attention has no shifted windows", "set shift to False"))
    if stage.num_nearest_keys < 1:
        found.append((f"num_nearest_keys >= 1 must hold, but got {stage.num_nearest_keys}", ""))
    return found


def _stage_problems(stage: StageOptions) -> list[tuple[str, str]]:
    height, width = stage.grid
    if min(stage.grid) < 1:
        return [(f"the map would have {height}x{width} tokens", "choose a larger img_size or fewer stages")]
    found = []
    if stage.dim % stage.num_heads:
        legal = listed(divisors(stage.dim))
        relation = f"dim % num_heads == 0 must hold, but got dim={stage.dim}, num_heads={stage.num_heads}"
        found.append((relation, f"for {stage.dim} choose num_heads from {legal}"))
    window_size = min(stage.window_size, height, width)
    if not 0 <= stage.expand_size <= stage.window_size:
        relation = f"0 <= expand_size <= window_size must hold, but got {stage.expand_size} and {stage.window_size}"
        found.append((relation, "0 turns the expansion off"))
    if stage.focal_level < 1:
        found.append(
            (f"focal_level >= 1 must hold, but got {stage.focal_level}", "1 means tokens without pooled cells")
        )
    if stage.focal_pool != "none" and stage.focal_level > 1:
        if stage.focal_window < 1 or stage.focal_window % 2 == 0:
            found.append(
                (
                    f"focal_window must be odd, but got {stage.focal_window}",
                    "an even window of cells has no centre; choose 1, 3, 5, ...",
                )
            )
        if cell_size(window_size, stage.focal_level - 2) < 1:
            found.append(
                (
                    f"focal_level={stage.focal_level} splits a window of {window_size} tokens into empty cells",
                    f"the highest level for this window is {window_size.bit_length() + 1}",
                )
            )
    return found
