"""Swap of an attention mechanism into a host model; every other weight stays as it was.

The host's qkv and output linears move into the mechanism, so that variants share them bit for bit. What a mechanism
adds is drawn from its own seed per block: swapping block 3 as well changes nothing in block 5, and the host's random
numbers are not touched. The families of hosts are the files beside this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from modelzoo.attention import ATTENTION
from modelzoo.attention.groupmix_segments import fitting_kernel_sizes
from modelzoo.attention.placebo import check_placebo
from modelzoo.hosts import AttentionSite, PlainSite, attention_sites
from modelzoo.hosts.map_carrying import carriers, carries_maps, swap_carrying
from modelzoo.hosts.site import foreign_host, own_random_numbers, unknown_attention
from search_space.parsing.errors import Problem, SpecError
from search_space.schema.attention import (
    RELEASED_KERNELS,
    AttentionSpec,
    EveryBlocks,
    FirstBlocks,
    GroupMixSpec,
    LastBlocks,
    RefinerSpec,
)
from search_space.schema.trial import ArchSpec

__all__ = ["chosen_indices", "swap_attention", "swap_notes"]


def swap_attention(model: nn.Module, arch: ArchSpec, *, seed: int) -> None:
    """Replaces the attention of the chosen blocks of `model` by `arch.attention`, in place.

    `softmax` means the model's own attention: plain slots get the fused form of the same thing, others stay as is.
    Blocks are counted through all stages of a pyramid.

    Raises:
        SpecError: the host has other attention, the blocks do not exist, the mechanism does not fit the sizes, or its
            placebo is the mechanism itself.
    """
    spec = arch.attention
    sites = attention_sites(model)
    if spec.name == "softmax":
        for index, site in enumerate(sites):
            if isinstance(site, PlainSite) and isinstance(model, VisionTransformer):
                with own_random_numbers(site, seed, index):
                    site.put(spec.name, {})
        return
    chosen = _checked_indices(model, arch, spec.blocks, sites)
    if isinstance(spec, RefinerSpec) and carries_maps(spec):
        swap_carrying(model, arch, spec, sites, chosen, seed)
    else:
        options = _options(arch, [sites[index] for index in chosen])
        for index in chosen:
            with own_random_numbers(sites[index], seed, index):
                sites[index].put(spec.name, options)
    check_placebo(model, spec)


def swap_notes(model: nn.Module, arch: ArchSpec) -> list[str]:
    """What `swap_attention` would do to `model`, its host, beside the replacement of attention maps; empty for nothing.

    Raises:
        SpecError: the mechanism does not fit the host.
    """
    spec = arch.attention
    if spec.name == "softmax":
        return []
    sites = attention_sites(model)
    chosen = _checked_indices(model, arch, spec.blocks, sites)
    places: dict[str, list[int]] = {}
    for index in chosen:
        for part in sites[index].replaces(spec.name):
            places.setdefault(part, []).append(index)
    notes = [f"{spec.name} takes the place of the {part}{_in(found, len(sites))}" for part, found in places.items()]
    if isinstance(spec, RefinerSpec) and spec.sharing != "none":
        sharing = [carrier.index for carrier in carriers(spec, chosen, 1, 1) if carrier.shares]
        notes.append(f"refiner with sharing has no queries and keys{_in(sharing, len(sites))}")
    kernels = _options(arch, [sites[index] for index in chosen]).get("kernel_sizes")
    if isinstance(spec, GroupMixSpec) and spec.kernel_sizes is None and kernels not in (None, RELEASED_KERNELS):
        shown, default = list(kernels), list(RELEASED_KERNELS)
        notes.append(f"groupmix has kernel_sizes {shown}: {default} do not fit the channels or heads of this host")
    return notes


def _in(places: Sequence[int], num_blocks: int) -> str:
    if len(places) == num_blocks:
        return " in all blocks"
    return f" in block{'s' if len(places) > 1 else ''} {', '.join(map(str, places))}"


def _checked_indices(model: nn.Module, arch: ArchSpec, blocks: object, sites: Sequence[AttentionSite]) -> list[int]:
    """Indices of the chosen sites.

    Raises:
        SpecError: the mechanism cannot replace their attention.
    """
    if not sites:
        raise SpecError(foreign_host(arch, _attention_of(model)))
    chosen = chosen_indices(blocks, len(sites))
    _check_sites(arch, sites, chosen)
    if _needs_grid(arch.attention):
        _check_fixed_grid(model, arch)
    return chosen


def _options(arch: ArchSpec, sites: Sequence[AttentionSite]) -> dict[str, Any]:
    """Options of the mechanism for all of these sites, which share them."""
    spec = arch.attention
    left_out = {"name", "blocks"} | ATTENTION[spec.name].layout
    options = {name: getattr(spec, name) for name in type(spec).model_fields if name not in left_out}
    # Only for the model's own width: a `match` over widths looks for those that the released kernels fit.
    has_own_width = arch.embed_dim is None and arch.num_heads is None
    if isinstance(spec, GroupMixSpec) and spec.kernel_sizes is None and has_own_width:
        counts = ("num_segments", "identity_segment", "local_branch")
        fitting = fitting_kernel_sizes((site.slot for site in sites), **{name: options[name] for name in counts})
        options["kernel_sizes"] = fitting
    return options


def _check_sites(arch: ArchSpec, sites: Sequence[AttentionSite], chosen: Sequence[int]) -> None:
    """Raises SpecError if a chosen site cannot take the mechanism, naming those that can."""
    name = arch.attention.name
    refused = {index: reason for index in chosen if (reason := sites[index].why_not(name)) is not None}
    if not refused:
        return
    index, reason = next(iter(refused.items()))
    possible = [other for other, site in enumerate(sites) if site.why_not(name) is None]
    if not possible:
        raise SpecError(foreign_host(arch, reason))
    raise SpecError(
        Problem(
            f"attention {name!r} cannot replace the attention of block {index} of {arch.model!r}, which {reason}",
            path="arch.attention.blocks",
            hint=f"possible blocks: {possible}",
        )
    )


def _attention_of(model: nn.Module) -> str:
    found = {
        unknown_attention(module).removeprefix("uses ")
        for name, module in model.named_modules()
        if name.rpartition(".")[2] == "attn" or _sounds_like_attention(type(module).__name__)
    }
    return f"uses {'; '.join(sorted(found))}" if found else "has no attention"


def _sounds_like_attention(name: str) -> bool:
    return "Att" in name and "Block" not in name


def _needs_grid(spec: AttentionSpec) -> bool:
    return ATTENTION[spec.name].needs_grid or (isinstance(spec, RefinerSpec) and spec.kernel_form == "spatial")


def _check_fixed_grid(model: nn.Module, arch: ArchSpec) -> None:
    takes_any_size = bool(getattr(model, "dynamic_img_size", False))
    if not takes_any_size and isinstance(getattr(model, "patch_drop", None), nn.Identity | None):
        return
    what, off = ("dynamic_img_size", "false") if takes_any_size else ("patch_drop_rate", "0")
    is_written = what in arch.options
    raise SpecError(
        Problem(
            f"attention {arch.attention.name!r} needs every patch of a fixed grid, which {what} takes away"
            if is_written
            else f"attention {arch.attention.name!r} needs every patch of a fixed grid, "
            f"which {what}, a default of {arch.model!r}, takes away",
            path=f"arch.options.{what}",
            hint=f"remove {what}" if is_written else f"write arch.options: {{{what}: {off}}}",
        )
    )


def chosen_indices(blocks: object, depth: int) -> list[int]:
    """Indices of the blocks that `arch.attention.blocks` names, of a model with this number of blocks.

    Raises:
        SpecError: there are no such blocks.
    """
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
