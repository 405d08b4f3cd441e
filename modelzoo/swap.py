"""Puts an attention mechanism into the slots of a host model and leaves every other weight as it was.

The host's qkv and output linears move into the mechanism, so that variants share them bit for bit. What a mechanism
adds is drawn from its own seed per block: swapping block 3 as well changes nothing in block 5, and the host's random
numbers are not touched.
"""

from __future__ import annotations

import hashlib

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.attention import ATTENTION, Slot, TokenAttention
from search_space.attention_specs import EveryBlocks, FirstBlocks, LastBlocks
from search_space.errors import Problem, SpecError
from search_space.specs import ArchSpec

__all__ = ["swap_attention"]


def swap_attention(model: nn.Module, arch: ArchSpec, *, seed: int) -> None:
    """Replaces the attention of the chosen blocks of `model` by `arch.attention`, in place.

    `softmax` means the model's own attention: plain slots get the fused form of the same thing, others stay as is.

    Raises:
        SpecError: the host has other attention, the blocks do not exist, or the mechanism does not fit the sizes.
    """
    spec = arch.attention
    if spec.name == "softmax":
        for index, block in enumerate(_blocks(model)):
            if _why_not_plain(block) is None:
                _swap_block(model, block, spec.name, {}, seed=seed, index=index)
        return
    blocks = _blocks(model)
    if not blocks:
        raise SpecError(_foreign_host(arch, _attention_of(model)))
    chosen = _chosen_indices(spec.blocks, len(blocks))
    for index in chosen:
        reason = _why_not_plain(blocks[index])
        if reason is not None:
            raise SpecError(_foreign_host(arch, reason))
    if ATTENTION[spec.name].needs_grid:
        _check_fixed_grid(model, arch)
    options = {name: getattr(spec, name) for name in type(spec).model_fields if name not in ("name", "blocks")}
    for index in chosen:
        _swap_block(model, blocks[index], spec.name, options, seed=seed, index=index)


def _swap_block(model: nn.Module, block: nn.Module, name: str, options: dict, *, seed: int, index: int) -> None:
    host = block.attn
    assert isinstance(host, Attention)
    assert isinstance(model, VisionTransformer)
    slot = Slot(
        dim=host.qkv.in_features,
        num_heads=host.num_heads,
        grid_size=model.patch_embed.grid_size,
        num_prefix_tokens=model.num_prefix_tokens,
        qkv_bias=host.qkv.bias is not None,
        proj_bias=host.proj.bias is not None,
        attn_drop=host.attn_drop.p,
        proj_drop=host.proj_drop.p,
    )
    weight = host.qkv.weight
    with torch.random.fork_rng(devices=[]), torch.device(weight.device):
        torch.default_generator.manual_seed(_block_seed(seed, index))
        attention: TokenAttention = ATTENTION[name](slot, **options).to(dtype=weight.dtype)
    attention.train(host.training)
    assert attention.qkv.weight.shape == weight.shape
    attention.qkv, attention.proj = host.qkv, host.proj
    block.attn = attention


def _block_seed(seed: int, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{index}".encode()).digest()[:7], "big")


def _blocks(model: nn.Module) -> list[nn.Module]:
    return list(model.blocks) if isinstance(model, VisionTransformer) else []


def _attention_of(model: nn.Module) -> str:
    found = {
        f"{type(module).__module__}.{type(module).__qualname__}"
        for name, module in model.named_modules()
        if name.rpartition(".")[2] == "attn" or _sounds_like_attention(type(module).__name__)
    }
    return f"uses {', '.join(sorted(found))}" if found else "has no attention"


def _sounds_like_attention(name: str) -> bool:
    return "Att" in name and "Block" not in name


def _why_not_plain(block: nn.Module) -> str | None:
    """What in a block a mechanism could not stand in for; None for timm's plain attention."""
    host = getattr(block, "attn", None)
    if host is None:
        return f"has blocks of kind {type(block).__name__}, without one attention of their own"
    # Exactly this class: a subclass computes something else.
    if type(host) is not Attention:
        return f"uses {type(host).__module__}.{type(host).__qualname__}"
    extras = {
        "qk_norm": not isinstance(host.q_norm, nn.Identity),
        "scale_attn_norm": not isinstance(host.norm, nn.Identity),
        "gated": host.gate is not None,
        "attn_head_dim": host.attn_dim != host.qkv.in_features,
        "dim_out": host.proj.out_features != host.qkv.in_features,
    }
    present = [name for name, is_there in extras.items() if is_there]
    return f"has attention with {', '.join(present)}" if present else None


def _foreign_host(arch: ArchSpec, reason: str) -> Problem:
    return Problem(
        f"attention {arch.attention.name!r} cannot replace the attention of {arch.model!r}, which {reason}",
        path="arch.attention",
        hint="legal hosts: `vit` and timm's plain vision transformers (vit_*, deit_*, deit3_*) without such extras; "
        "`softmax` keeps the attention that a model has",
    )


def _check_fixed_grid(model: nn.Module, arch: ArchSpec) -> None:
    assert isinstance(model, VisionTransformer)
    if model.dynamic_img_size or not isinstance(model.patch_drop, nn.Identity):
        what = "dynamic_img_size" if model.dynamic_img_size else "patch_drop_rate"
        raise SpecError(
            Problem(
                f"attention {arch.attention.name!r} needs every patch of a fixed grid, which {what} takes away",
                path=f"arch.options.{what}",
                hint=f"remove {what}",
            )
        )


def _chosen_indices(blocks: object, depth: int) -> list[int]:
    if blocks == "all":
        return list(range(depth))
    for kind, name in ((LastBlocks, "last"), (FirstBlocks, "first"), (EveryBlocks, "every")):
        if isinstance(blocks, kind):
            count = getattr(blocks, name)
            if count > depth:
                raise SpecError(
                    Problem(
                        f"{name}: {count} is more than the {depth} blocks of the model",
                        path=f"arch.attention.blocks.{name}",
                        hint=f"legal: 1 to {depth}",
                    )
                )
            if name == "every":
                return list(range(count - 1, depth, count))
            return list(range(depth - count, depth)) if name == "last" else list(range(count))
    assert isinstance(blocks, tuple)
    _check_block_list(blocks, depth)
    return list(blocks)


def _check_block_list(blocks: tuple[int, ...], depth: int) -> None:
    problems = []
    beyond = [index for index in blocks if not 0 <= index < depth]
    twice = sorted({index for index in blocks if blocks.count(index) > 1})
    if not blocks:
        problems.append(("an empty list chooses no block", "`attention: softmax` keeps the model's own attention"))
    if beyond:
        problems.append((f"no such blocks: {beyond}", f"the model has {depth}; legal: 0 to {depth - 1}"))
    if twice:
        problems.append((f"blocks listed twice: {twice}", "list each block once"))
    if problems:
        raise SpecError(Problem(message, path="arch.attention.blocks", hint=hint) for message, hint in problems)
