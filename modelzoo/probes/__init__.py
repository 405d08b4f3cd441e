"""Probes of attention maps: similarity of blocks and heads, entropy, distance, without changing the forward pass.

    maps = attention_maps(model, images)            # one AttentionMap per attention, in the order of the forward pass
    cross_layer_similarity([one.weights for one in maps])

`measure_probes` computes metrics of a trial from them; `PROBES` is the table of probes.
"""

from __future__ import annotations

from modelzoo.probes.cosine_regulariser import (
    check_cosine_regulariser,
    column_similarity,
    cosine_penalty,
    head_axis_similarity,
)
from modelzoo.probes.evolution import feature_evolution, linear_cka
from modelzoo.probes.features import block_features, feature_similarity
from modelzoo.probes.map_metrics import (
    attention_distance,
    attention_entropy,
    cross_layer_similarity,
    head_similarity,
    similar_block_count,
    similar_blocks,
    similar_share,
)
from modelzoo.probes.maps import AttentionMap, attention_maps, record_maps
from modelzoo.probes.measure import PROBES, Probed, measure_probes
from modelzoo.probes.positions import Positions

__all__ = [
    "PROBES",
    "AttentionMap",
    "Positions",
    "Probed",
    "attention_distance",
    "attention_entropy",
    "attention_maps",
    "block_features",
    "check_cosine_regulariser",
    "column_similarity",
    "cosine_penalty",
    "cross_layer_similarity",
    "feature_evolution",
    "feature_similarity",
    "head_axis_similarity",
    "head_similarity",
    "linear_cka",
    "measure_probes",
    "record_maps",
    "similar_block_count",
    "similar_blocks",
    "similar_share",
]
