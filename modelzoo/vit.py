"""`model: vit`: timm's VisionTransformer with every size free.

Separate from the named models because here every size is ours to check, in words, before timm sees it.
"""

from __future__ import annotations

import math
from typing import Any

from timm.models.vision_transformer import VisionTransformer

from modelzoo.legal_values import divisors, listed, nearest
from search_space.errors import Problem, SpecError
from search_space.specs import ArchSpec

__all__ = ["build_vit"]


def build_vit(
    arch: ArchSpec, *, img_size: tuple[int, int], in_chans: int, num_classes: int, options: dict[str, Any]
) -> VisionTransformer:
    """A VisionTransformer with timm's own softmax attention.

    Raises:
        SpecError: sizes that do not fit together, all of them at once.
    """
    # `model: vit` spells its defaults out, so none of these is None.
    assert arch.embed_dim is not None
    assert arch.num_heads is not None
    assert arch.patch_size is not None
    assert arch.mlp_ratio is not None
    problems = [
        *_heads_problems(arch.embed_dim, arch.num_heads),
        *_patch_problems(img_size, arch.patch_size),
        *_pool_problems(arch),
    ]
    if int(arch.embed_dim * arch.mlp_ratio) < 1:
        problems.append(
            Problem(
                f"embed_dim * mlp_ratio >= 1 must hold, but got embed_dim={arch.embed_dim}, "
                f"mlp_ratio={arch.mlp_ratio:g}",
                path="arch.mlp_ratio",
            )
        )
    if problems:
        raise SpecError(problems)
    return VisionTransformer(
        img_size=img_size,
        in_chans=in_chans,
        num_classes=num_classes,
        patch_size=arch.patch_size,
        embed_dim=arch.embed_dim,
        depth=arch.depth,
        num_heads=arch.num_heads,
        mlp_ratio=arch.mlp_ratio,
        qkv_bias=arch.qkv_bias,
        class_token=arch.class_token,
        global_pool=arch.global_pool,
        drop_path_rate=arch.drop_path_rate,
        proj_drop_rate=arch.proj_drop_rate,
        attn_drop_rate=arch.attn_drop_rate,
        **options,
    )


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


def _patch_problems(img_size: tuple[int, int], patch_size: int) -> list[Problem]:
    height, width = img_size
    if height % patch_size == 0 and width % patch_size == 0:
        return []
    legal = divisors(math.gcd(height, width))
    return [
        Problem(
            f"img_size % patch_size == 0 must hold, but got img_size={height}x{width}, patch_size={patch_size}",
            path="arch.patch_size",
            hint=f"patch_size for {height}x{width} images: {listed(legal)}",
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
