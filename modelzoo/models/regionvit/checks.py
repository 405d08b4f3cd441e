"""Checks of RegionViT's arguments, with all problems reported at once before a layer is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelzoo.legal_values import divisors, listed
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["check_choices", "check_options", "per_stage"]

CHOICES = {
    "stem": ("1conv", "3conv", "linear"),
    "regional_tokens": ("computed", "grid", "none", "shared"),
    "regional_attention": ("none", "separate", "shared"),
    "corner": ("intersection", "union"),
    "global_pool": ("", "avg", "avgmax", "max"),
}
DOWNSAMPLING = ("c", "sc")


def per_stage(value: Any, num_stages: int) -> tuple[Any, ...]:
    """Values per stage; a single number applies to all stages."""
    return (value,) * num_stages if isinstance(value, (int, float)) else tuple(value)


def check_options(
    *,
    patch_size: int,
    embed_dim: Sequence[int],
    depths: Sequence[int],
    num_heads: Sequence[int],
    window_sizes: Sequence[int],
    mlp_ratios: Sequence[float],
    downsampling: Sequence[str],
    **choices: str,
) -> None:
    """Raise SpecError with all problems."""
    problems = _unknown(choices)
    if choices["stem"] == "3conv" and (patch_size != 4 or embed_dim[0] % 4):
        problems.append(
            Problem(
                "RegionViT: stem '3conv' needs patch_size == 4 and embed_dim[0] % 4 == 0, "
                f"but got patch_size={patch_size}, embed_dim[0]={embed_dim[0]}",
                hint="choose stem '1conv' or 'linear' for other patch sizes",
            )
        )
    lengths = {
        "num_heads": num_heads,
        "window_size": window_sizes,
        "mlp_ratio": mlp_ratios,
        "downsampling": downsampling,
    }
    counts = {name: len(values) for name, values in lengths.items() if len(values) != len(depths)}
    problems += [
        Problem(f"RegionViT: {name} needs one value per stage, {len(depths)} as in depths, but got {count}")
        for name, count in counts.items()
    ]
    if len(embed_dim) != len(depths) + 1:
        problems.append(
            Problem(
                f"RegionViT: embed_dim needs {len(depths) + 1} values, the stem's and one per stage of depths, "
                f"but got {len(embed_dim)}"
            )
        )
    if not counts and len(embed_dim) == len(depths) + 1:
        for stage, (heads, mode) in enumerate(zip(num_heads, downsampling, strict=True)):
            problems += _stage_problems(stage, embed_dim[stage], embed_dim[stage + 1], heads, mode, depths[stage])
    if problems:
        raise SpecError(problems)


def check_choices(**choices: str) -> None:
    """Raise SpecError for values that are not in `CHOICES`."""
    if problems := _unknown(choices):
        raise SpecError(problems)


def _unknown(choices: dict[str, str]) -> list[Problem]:
    return [
        Problem(f"RegionViT: unknown {name} {value!r}", hint=did_you_mean(str(value), CHOICES[name]))
        for name, value in choices.items()
        if value not in CHOICES[name]
    ]


def _stage_problems(stage: int, in_dim: int, dim: int, num_heads: int, mode: str, depth: int) -> list[Problem]:
    problems = []
    if depth < 1:
        problems.append(Problem(f"RegionViT: stage {stage} needs a depth of at least 1, but got {depth}"))
    if dim % num_heads:
        problems.append(
            Problem(
                f"RegionViT: embed_dim % num_heads == 0 must hold, but stage {stage} has "
                f"embed_dim={dim}, num_heads={num_heads}",
                hint=f"num_heads for embed_dim={dim}: {listed(divisors(dim))}",
            )
        )
    if mode not in DOWNSAMPLING:
        problems.append(
            Problem(
                f"RegionViT: downsampling of stage {stage} must be 'c' (same size) or 'sc' (half), but got {mode!r}",
            )
        )
    elif dim % in_dim:
        problems.append(
            Problem(
                f"RegionViT: the width of stage {stage} must be a multiple of the previous stage's, "
                f"but got {dim} after {in_dim}",
                hint="a projection is a depthwise convolution, so its channel multiplier must be an integer",
            )
        )
    return problems
