"""Construction of `model: vit`: timm's VisionTransformer with configurable sizes.

Separate from the named models because all sizes are checked here, with readable errors, before timm is called.
"""

from __future__ import annotations

import math
from typing import Any

from timm.models.vision_transformer import VisionTransformer

from modelzoo.legal_values import divisors, listed, nearest
from search_space.parsing.errors import Problem, SpecError, reason_of
from search_space.schema.trial import VIT_DEFAULTS, ArchSpec

__all__ = ["build_vit", "patch_problems"]


def build_vit(
    arch: ArchSpec, *, img_size: tuple[int, int], in_chans: int, num_classes: int, options: dict[str, Any]
) -> VisionTransformer:
    """Build a VisionTransformer with timm's own softmax attention.

    Raises:
        SpecError: incompatible sizes, all problems at once.
    """
    # `model: vit` has explicit defaults, so none of these is None.
    sizes: dict[str, Any] = {name: getattr(arch, name) for name in VIT_DEFAULTS}
    assert None not in sizes.values()
    problems = [
        *_heads_problems(sizes["embed_dim"], sizes["num_heads"]),
        *patch_problems(img_size, sizes["patch_size"]),
        *_pool_problems(arch),
    ]
    if sizes["embed_dim"] * sizes["mlp_ratio"] < 1:
        problems.append(
            Problem(
                f"embed_dim * mlp_ratio >= 1 must hold, but got embed_dim={arch.embed_dim}, mlp_ratio={arch.mlp_ratio}",
                path="arch.mlp_ratio",
                hint=f"for embed_dim={arch.embed_dim} choose a mlp_ratio of at least {1 / sizes['embed_dim']:.3g}",
            )
        )
    if problems:
        raise SpecError(problems)
    try:
        return VisionTransformer(
            img_size=img_size,
            in_chans=in_chans,
            num_classes=num_classes,
            **sizes,
            drop_path_rate=arch.drop_path_rate,
            proj_drop_rate=arch.proj_drop_rate,
            attn_drop_rate=arch.attn_drop_rate,
            **options,
        )
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as err:
        # The sizes were checked above, so the error is caused by the values of options.
        asked = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise SpecError(
            Problem(
                f"timm cannot build 'vit' with {asked}: {type(err).__name__}: {reason_of(err)}",
                path="arch.options",
                hint="the options and their values are those of timm's VisionTransformer",
            )
        ) from err


def _heads_problems(embed_dim: int, num_heads: int) -> list[Problem]:
    if embed_dim % num_heads == 0:
        return []
    widths = nearest(embed_dim, lambda width: width % num_heads == 0)
    return [
        Problem(
            f"embed_dim % num_heads == 0 must hold, but got embed_dim={embed_dim}, num_heads={num_heads}",
            path="arch.num_heads",
            hint=f"num_heads for embed_dim={embed_dim}: {listed(divisors(embed_dim))}; "
            f"near embed_dim for num_heads={num_heads}: {listed(widths)}",
        )
    ]


def patch_problems(img_size: tuple[int, int], patch_size: int) -> list[Problem]:
    """Problem of patches that do not tile the image; empty if they do."""
    height, width = img_size
    if height % patch_size == 0 and width % patch_size == 0:
        return []
    legal = divisors(math.gcd(height, width))
    sides = sorted({near for side in img_size for near in nearest(side, lambda n: n % patch_size == 0)})
    return [
        Problem(
            f"img_size % patch_size == 0 must hold, but got img_size={height}x{width}, patch_size={patch_size}",
            path="arch.patch_size",
            hint=f"patch_size for {height}x{width} images: {listed(legal)}; "
            f"near sides for patch_size={patch_size}: {listed(sides)}",
        )
    ]


def _pool_problems(arch: ArchSpec) -> list[Problem]:
    if arch.class_token or arch.global_pool != "token":
        return []
    return [
        Problem(
            "global_pool 'token' reads the class token, but class_token is false",
            path="arch.global_pool",
            hint="without a class token choose from avg, avgmax, map, max",
        )
    ]
