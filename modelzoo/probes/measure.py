"""Probes as metrics of a trial: one number per probe, and arrays for plots.

A block is compared with the previous block; with shifted windows, where adjacent blocks attend to different tokens,
with the nearest earlier block of the same windows. Metrics are means over images, then over blocks. A probe that does
not apply to a model (Group-Mix attention forms no N x N map) yields a note with the reason instead of a metric.

Shapes:  L attentions, B images, H heads, T tokens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from modelzoo.probes.evolution import Draws
from modelzoo.probes.features import block_features, feature_similarity
from modelzoo.probes.map_metrics import (
    ALIKE,
    ALIKE_SHARE,
    attention_distance,
    attention_entropy,
    cross_layer_similarity,
    head_similarity,
)
from modelzoo.probes.maps import AttentionMap, attention_maps

__all__ = ["PROBES", "Probed", "measure_probes"]

_SIMILAR_SHARE = 0.9
"""Of `similar_blocks`: a block is similar to another if more than this share of its columns is."""


@dataclass
class Probed:
    """Results of the probes: metrics (names as in `search_space.schema.metrics`), arrays, and notes on missing ones."""

    metrics: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sample:
    """Maps and features of one batch, shared by all probes."""

    maps: list[AttentionMap]
    features: dict[str, Tensor]
    threshold: float

    @functools.cached_property
    def similarities(self) -> dict[str, Tensor] | str:
        """Arrays of all probes that compare maps of blocks, which are computed once."""
        return _similarities(self)


def measure_probes(
    model: nn.Module,
    batches: Iterable[Tensor],
    names: Sequence[str],
    *,
    similarity_threshold: float = 0.9,
) -> Probed:
    """Measure probes of a model on batches of images; the maps of one batch are in memory at a time.

    Args:
        similarity_threshold: Cosine above which `similar_blocks` counts a column as similar.

    Arrays (NaN if two attentions cannot be compared or the number is undefined; rows in the order of `names`):
        cross_layer_similarity (L, L), similar_share (L, L), alike_share (L, L), head_similarity (L, H, H),
        feature_similarity (blocks), feature_evolution (blocks), attention_entropy (L, H), attention_distance (L, H).
    """
    totals: dict[str, Tensor] = {}
    notes: dict[str, str] = {}
    paths: tuple[str, ...] = ()
    num_images = 0
    draws = Draws()
    needed = {PROBES[name].needs for name in names}
    for images in batches:
        maps = attention_maps(model, images) if "maps" in needed else []
        features = block_features(model, images) if "features" in needed else {}
        sample = _Sample(maps, features, similarity_threshold)
        paths = tuple(one.name for one in maps)
        if "draws" in needed:
            draws.add(images)
        for name in names:
            found = PROBES[name].collect(sample)
            if isinstance(found, str):
                notes[name] = f"no {name}: {found}"
                continue
            for key, value in found.items():
                totals[key] = totals.get(key, torch.zeros_like(value)) + value * len(images)
        num_images += len(images)
    arrays = {key: value / num_images for key, value in totals.items()}
    if "draws" in needed:
        evolution = draws.measure(model)
        if isinstance(evolution, str):
            notes["feature_evolution"] = f"no feature_evolution: {evolution}"
        else:
            arrays["feature_evolution"] = evolution
    metrics = {name: PROBES[name].summarise(arrays) for name in names if name not in notes and arrays}
    return Probed(metrics, arrays, paths, tuple(notes.values()))


# -- arrays of each probe for a batch (means over its images), or the reason why there are none --------------------


def _similarities(sample: _Sample) -> dict[str, Tensor] | str:
    formed = [one.weights for one in sample.maps if one.weights is not None]
    if not formed:
        return _no_map(sample)
    mean = torch.full((len(sample.maps),) * 2, torch.nan, dtype=torch.float64)
    share, alike = mean.clone(), mean.clone()
    for group in _comparable(sample.maps):
        if len(group) > 1:
            weights = [w for index in group if (w := sample.maps[index].weights) is not None]
            cosine_LLBHT = cross_layer_similarity(weights)
            rows, columns = torch.tensor(group)[:, None], torch.tensor(group)[None]
            mean[rows, columns] = cosine_LLBHT.mean(dim=(2, 3, 4)).cpu()
            share[rows, columns] = (cosine_LLBHT > sample.threshold).double().mean(dim=(2, 3, 4)).cpu()
            alike[rows, columns] = (cosine_LLBHT > ALIKE).double().mean(dim=(2, 3, 4)).cpu()
    if not _pairs(mean):
        return "no two attentions are known to attend over the same tokens"
    return {"cross_layer_similarity": mean, "similar_share": share, "alike_share": alike}


def _between_blocks(array: str) -> Callable[[_Sample], dict[str, Tensor] | str]:
    def collect(sample: _Sample) -> dict[str, Tensor] | str:
        found = sample.similarities
        return found if isinstance(found, str) else {array: found[array]}

    return collect


def _heads(sample: _Sample) -> dict[str, Tensor] | str:
    found = [None if one.weights is None else head_similarity(one.weights) for one in sample.maps]
    if all(one is None for one in found):
        return _no_map(sample)
    if not any(one is not None and len(one) > 1 for one in found):
        return "every attention has a single head"
    return {"head_similarity": _padded(found)}


def _entropy(sample: _Sample) -> dict[str, Tensor] | str:
    found = [None if one.softmax is None else attention_entropy(one.softmax).mean(dim=0) for one in sample.maps]
    return _no_map(sample) if all(one is None for one in found) else {"attention_entropy": _padded(found)}


def _distance(sample: _Sample) -> dict[str, Tensor] | str:
    found = [
        attention_distance(one.softmax, one.positions).mean(dim=0)
        if one.softmax is not None and one.positions is not None
        else None
        for one in sample.maps
    ]
    if any(one is not None for one in found):
        return {"attention_distance": _padded(found)}
    if all(one.softmax is None for one in sample.maps):
        return _no_map(sample)
    return "the positions of this model's tokens in the image are unknown"


def _features(sample: _Sample) -> dict[str, Tensor] | str:
    blocks = list(sample.features.values())
    alike = [one for one in blocks if one.shape == blocks[-1].shape]
    if len(alike) < 2:
        return "no two blocks have outputs of the same shape"
    return {"feature_similarity": feature_similarity(alike).mean(dim=(1, 2)).cpu()}


def _of_draws(_sample: _Sample) -> dict[str, Tensor] | str:
    """Nothing from a batch: its draws are of more images than maps of a batch fit in memory."""
    return {}


# -- reduction of the arrays to metrics ----------------------------------------------------------------------------


def _over_pairs(array_LL: Tensor) -> float:
    return torch.stack([array_LL[pair] for pair in _pairs(array_LL)]).mean().item()


def _similar_blocks(array_LL: Tensor) -> float:
    shares = torch.stack([array_LL[pair] for pair in _pairs(array_LL)])
    return 100.0 * (shares > _SIMILAR_SHARE).double().mean().item()


def _similar_block_count(array_LL: Tensor) -> float:
    return float(sum(array_LL[pair].item() > ALIKE_SHARE for pair in _pairs(array_LL)))


def _before_the_last(array_L: Tensor) -> float:
    return array_L[:-1].mean().item()


def _between_heads(array_LHH: Tensor) -> float:
    means = []
    for one_HH in array_LHH:
        num_heads = int((~one_HH.diagonal().isnan()).sum())
        if num_heads > 1:
            off = one_HH[:num_heads, :num_heads].sum() - one_HH.diagonal()[:num_heads].sum()
            means.append(off / (num_heads * (num_heads - 1)))
    return torch.stack(means).mean().item()


def _over_blocks(array_LH: Tensor) -> float:
    rows = array_LH.nanmean(dim=1)
    return rows.nanmean().item()


@dataclass(frozen=True)
class _Probe:
    collect: Callable[[_Sample], dict[str, Tensor] | str]
    array: str
    reduce: Callable[[Tensor], float]
    needs: Literal["maps", "features", "draws"] = "maps"

    def summarise(self, arrays: dict[str, Tensor]) -> float:
        return self.reduce(arrays[self.array])


PROBES: dict[str, _Probe] = {
    "cross_layer_similarity": _Probe(_between_blocks("cross_layer_similarity"), "cross_layer_similarity", _over_pairs),
    "similar_blocks": _Probe(_between_blocks("similar_share"), "similar_share", _similar_blocks),
    "similar_block_count": _Probe(_between_blocks("alike_share"), "alike_share", _similar_block_count),
    "head_similarity": _Probe(_heads, "head_similarity", _between_heads),
    "feature_similarity": _Probe(_features, "feature_similarity", _before_the_last, "features"),
    "feature_evolution": _Probe(_of_draws, "feature_evolution", _before_the_last, "draws"),
    "attention_entropy": _Probe(_entropy, "attention_entropy", _over_blocks),
    "attention_distance": _Probe(_distance, "attention_distance", _over_blocks),
}
"""Probes by the name of their metric."""


def _comparable(maps: Sequence[AttentionMap]) -> list[list[int]]:
    """Indices of maps with the same heads over the same tokens."""
    groups: dict[object, list[int]] = {}
    for index, one in enumerate(maps):
        # The tokens of windows of an unknown kind may differ from block to block.
        if one.weights is not None and (one.positions is not None or one.num_windows == 1):
            is_shifted = one.positions is not None and one.positions.is_shifted
            groups.setdefault((tuple(one.weights.shape), is_shifted), []).append(index)
    return list(groups.values())


def _pairs(array_LL: Tensor) -> list[tuple[int, int]]:
    """Pairs of each attention with the nearest earlier one that it can be compared with."""
    found = []
    for index, row in enumerate(array_LL):
        earlier = (~row[:index].isnan()).nonzero().flatten()
        if len(earlier):
            found.append((int(earlier[-1]), index))
    return found


def _padded(found: Sequence[Tensor | None]) -> Tensor:
    """Array with one row per attention; NaN for missing heads or rows."""
    most = max(len(one) for one in found if one is not None)
    rank = next(one.ndim for one in found if one is not None)
    padded = torch.full((len(found), *(most,) * rank), torch.nan, dtype=torch.float64)
    for row, one in zip(padded, found, strict=True):
        if one is not None:
            row[(slice(len(one)),) * rank] = one.cpu()
    return padded


def _no_map(sample: _Sample) -> str:
    kinds = sorted({one.kind for one in sample.maps})
    return f"{', '.join(kinds)} forms no map of attention between tokens"
