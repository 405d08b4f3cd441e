"""Options of a segmentation network, and what they mean on a backbone: defaults by head, parts by reductions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from modelzoo.dense.pyramid import PYRAMIDS, fitting_pyramid
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["HEADS", "Layout", "SegmenterOptions", "resolve_options"]

# Channels of the published configurations, UperNet with Swin and Semantic FPN with PVT.
HEADS = {"semantic_fpn": 128, "upernet": 512}


@dataclass(frozen=True, kw_only=True)
class SegmenterOptions:
    """Options of a segmentation network.

    Args:
        head: `upernet` or `semantic_fpn`.
        head_dim: Channels of the head; None: 512 for UperNet, 128 for Semantic FPN.
        head_dropout: Rate before the classifiers of all heads.
        pyramid: `fpn` (multi-stage backbones) or `simple` (isotropic ones); None: by the backbone. On a multi-stage
            backbone UperNet takes the maps themselves, because an FPN is part of it.
        pyramid_dim: Channels of the pyramid's maps.
        level_norm: Whether each map of a multi-stage backbone is normalised. A simple pyramid has its own norms.
        pool_scales: Pooling grids of UperNet.
        aux_weight: Weight of the auxiliary loss; 0: no auxiliary head.
        aux_dim: Channels of the auxiliary head.
    """

    head: str = "upernet"
    head_dim: int | None = None
    head_dropout: float = 0.1
    pyramid: str | None = None
    pyramid_dim: int = 256
    level_norm: bool = True
    pool_scales: tuple[int, ...] = (1, 2, 3, 6)
    aux_weight: float = 0.4
    aux_dim: int = 256


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Parts of a network, with None for those that it does not have.

    Args:
        notes: Options without effect here that differ from their defaults, a sentence each.
    """

    head: str
    head_dim: int
    head_dropout: float
    pyramid: str
    pyramid_dim: int | None
    level_norm: bool
    pool_scales: tuple[int, ...] | None
    aux_weight: float
    aux_dim: int | None
    notes: tuple[str, ...]


def resolve_options(options: SegmenterOptions, reductions: Sequence[int]) -> Layout:
    """What the options mean on a backbone with these reductions.

    Raises:
        SpecError: unknown names and illegal values, all at once; paths are below `task`.
    """
    problems = [
        *_unknown("head", options.head, sorted(HEADS)),
        *([] if options.pyramid is None else _unknown("pyramid", options.pyramid, PYRAMIDS)),
        *_illegal_values(options),
    ]
    if problems:
        raise SpecError(problems)
    is_upernet, pyramid = options.head == "upernet", fitting_pyramid(options.pyramid, reductions)
    has_pyramid = not is_upernet or pyramid == "simple"
    unused = {
        "pyramid_dim": not has_pyramid and "UperNet takes the maps of a multi-stage backbone as they are",
        "pool_scales": not is_upernet and "only UperNet pools",
        "level_norm": pyramid == "simple" and "a simple pyramid has its own norms",
        "aux_dim": not options.aux_weight and "aux_weight is 0, so there is no auxiliary head",
    }
    defaults = {field.name: field.default for field in fields(SegmenterOptions)}
    return Layout(
        head=options.head,
        head_dim=options.head_dim or HEADS[options.head],
        head_dropout=options.head_dropout,
        pyramid=pyramid,
        pyramid_dim=options.pyramid_dim if has_pyramid else None,
        level_norm=options.level_norm and pyramid == "fpn",
        pool_scales=options.pool_scales if is_upernet else None,
        aux_weight=options.aux_weight,
        aux_dim=options.aux_dim if options.aux_weight else None,
        notes=tuple(
            f"task.{name} has no effect: {reason}"
            for name, reason in unused.items()
            if reason and getattr(options, name) != defaults[name]
        ),
    )


def _unknown(name: str, value: str, legal: Sequence[str]) -> list[Problem]:
    if value in legal:
        return []
    return [Problem(f"unknown {name} {value!r}", path=f"task.{name}", hint=did_you_mean(value, legal))]


def _illegal_values(options: SegmenterOptions) -> list[Problem]:
    sizes = {name: getattr(options, name) for name in ("head_dim", "pyramid_dim", "aux_dim")}
    legal = {name: value is None or value >= 1 for name, value in sizes.items()}
    legal["pool_scales"] = len(options.pool_scales) > 0 and min(options.pool_scales) >= 1
    legal["aux_weight"] = options.aux_weight >= 0
    legal["head_dropout"] = 0 <= options.head_dropout < 1
    hints = {"aux_weight": "0 (no auxiliary head) or more", "head_dropout": "0 or more and less than 1"}
    return [
        Problem(
            f"{name} is {getattr(options, name)!r}",
            path=f"task.{name}",
            hint=f"legal: {hints.get(name, 'whole numbers of at least 1')}",
        )
        for name, is_legal in legal.items()
        if not is_legal
    ]
