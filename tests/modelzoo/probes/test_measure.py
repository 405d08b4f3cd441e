"""Probes as metrics of a model: how they are averaged, and their notes if there is nothing to measure."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import timm
import torch

from modelzoo import build_model
from modelzoo.probes import (
    PROBES,
    attention_distance,
    attention_entropy,
    attention_maps,
    block_features,
    cross_layer_similarity,
    feature_evolution,
    feature_similarity,
    head_similarity,
    measure_probes,
    similar_block_count,
    similar_blocks,
)
from search_space.schema.metrics import METRICS
from search_space.schema.task import TASK_SPECS
from search_space.schema.trial import ArchSpec, ClassificationSpec


def build(attention="softmax", depth=3, num_heads=4):
    arch = {"depth": depth, "embed_dim": 40, "num_heads": num_heads, "patch_size": 2, "attention": attention}
    model = build_model(ArchSpec.model_validate(arch), img_size=8, in_chans=1, num_classes=3, seed=0).eval()
    # Larger queries and keys, so that the maps are not almost uniform.
    for block in model.blocks:
        block.attn.qkv.weight.data *= 20
    return model


def images(num: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_probes_are_the_metrics_without_a_direction_that_no_task_has():
    of_tasks = {name for task in TASK_SPECS.values() for name in task.metrics}
    assert set(PROBES) == {name for name, metric in METRICS.items() if metric.direction is None} - of_tasks


def test_every_probe_can_be_written_in_a_sweep():
    assert ClassificationSpec(probes=tuple(PROBES)).probes == tuple(PROBES)


@pytest.mark.parametrize("attention", ["softmax", "reattention"])
def test_metrics_are_means_over_blocks_and_images(attention):
    """Two batches of different size are weighted by their images."""
    model, batches = build(attention), [images(3), images(1, seed=1)]
    found = measure_probes(model, batches, tuple(PROBES))
    together = torch.cat(batches)
    maps = attention_maps(model, together)
    similarity = cross_layer_similarity([one.weights for one in maps])
    off_diagonal = ~torch.eye(4, dtype=torch.bool)
    features = list(block_features(model, together).values())
    want = {
        "cross_layer_similarity": (similarity[0, 1].mean() + similarity[1, 2].mean()) / 2,
        "similar_blocks": 100 * similar_blocks(similarity),
        "similar_block_count": similar_block_count(similarity),
        "head_similarity": torch.stack([head_similarity(one.weights)[off_diagonal].mean() for one in maps]).mean(),
        "feature_similarity": feature_similarity(features)[:-1].mean(),
        "feature_evolution": feature_evolution(model, together)[:-1].mean(),
        "attention_entropy": torch.stack([attention_entropy(one.softmax).mean() for one in maps]).mean(),
        "attention_distance": torch.stack(
            [attention_distance(one.softmax, one.positions).mean() for one in maps]
        ).mean(),
    }
    # Batches of different sizes may use different fused kernels.
    assert found.metrics == {name: pytest.approx(value.item(), rel=1e-4) for name, value in want.items()}
    assert found.notes == ()


def test_similar_columns_exceed_the_threshold():
    model, x = build(), images(2)
    shares = [
        measure_probes(model, [x], ("similar_blocks",), similarity_threshold=threshold).metrics["similar_blocks"]
        for threshold in (-1.0, 0.999999)
    ]
    assert shares == [100.0, 0.0]


def test_the_number_of_similar_blocks_is_the_papers():
    """Counted by hand, column by column of adjacent blocks. The threshold of `similar_blocks` does not change it."""
    model, x = build(depth=6), images(3)
    model.blocks[2].attn.qkv.weight.data.zero_()  # two blocks with uniform maps, which are alike
    model.blocks[3].attn.qkv.weight.data.zero_()
    maps = [one.weights.double().numpy() for one in attention_maps(model, x)]
    count = 0
    for one, other in itertools.pairwise(maps):
        columns = [(one[b, h, :, t], other[b, h, :, t]) for b, h, t in np.ndindex(3, 4, 17)]
        alike = [p @ q / math.sqrt(p @ p) / math.sqrt(q @ q) > 0.5 for p, q in columns]
        count += sum(alike) / len(alike) > 0.8
    assert 1 <= count < 5
    for threshold in (0.9, -1.0):
        found = measure_probes(model, [x[:2], x[2:]], ("similar_block_count",), similarity_threshold=threshold)
        assert found.metrics == {"similar_block_count": count}


def test_arrays_contain_every_block_head_and_pair():
    found = measure_probes(build(), [images(2)], tuple(PROBES))
    assert found.names == ("blocks.0.attn", "blocks.1.attn", "blocks.2.attn")
    assert {name: tuple(array.shape) for name, array in found.arrays.items()} == {
        "cross_layer_similarity": (3, 3),
        "similar_share": (3, 3),
        "alike_share": (3, 3),
        "head_similarity": (3, 4, 4),
        "feature_similarity": (3,),
        "feature_evolution": (3,),
        "attention_entropy": (3, 4),
        "attention_distance": (3, 4),
    }
    assert found.arrays["cross_layer_similarity"].diagonal().tolist() == pytest.approx([1.0] * 3)


def test_groupmix_has_features_only_and_a_note():
    found = measure_probes(build("groupmix"), [images(2)], ("cross_layer_similarity", "feature_similarity"))
    assert set(found.metrics) == {"feature_similarity"}
    assert found.notes == ("no cross_layer_similarity: GroupMixAttention forms no map of attention between tokens",)


def test_blocks_without_a_map_are_omitted():
    found = measure_probes(build({"name": "groupmix", "blocks": [1]}), [images(2)], ("cross_layer_similarity",))
    assert found.arrays["cross_layer_similarity"].isnan().tolist() == [[False, True, False]] * 1 + [
        [True, True, True],
        [False, True, False],
    ]
    # Block 2 is compared with block 0, the nearest earlier block with a map.
    assert found.metrics["cross_layer_similarity"] == pytest.approx(found.arrays["cross_layer_similarity"][0, 2].item())


def test_a_single_head_has_no_similarity():
    found = measure_probes(build(num_heads=1), [images(2)], ("head_similarity",))
    assert (found.metrics, found.notes) == ({}, ("no head_similarity: every attention has a single head",))


def test_shifted_windows_are_compared_with_shifted_ones():
    torch.manual_seed(0)
    model = timm.create_model("swin_tiny_patch4_window7_224", img_size=112, num_classes=3, depths=(4, 2, 2, 2))
    found = measure_probes(model, [torch.randn(1, 3, 112, 112)], ("cross_layer_similarity",))
    known = ~found.arrays["cross_layer_similarity"][:4, :4].isnan()
    assert known.tolist() == [[(row + column) % 2 == 0 for column in range(4)] for row in range(4)]


def test_windows_of_an_unknown_kind_are_not_compared():
    model = timm.create_model("maxvit_nano_rw_256", num_classes=3)
    found = measure_probes(model, [torch.zeros(1, 3, 256, 256)], ("attention_distance",))
    assert found.metrics == {}
    assert found.notes == ("no attention_distance: the positions of this model's tokens in the image are unknown",)


def test_entropy_of_a_model_with_uniform_attention():
    model = build()
    for block in model.blocks:
        block.attn.qkv.weight.data.zero_()
    found = measure_probes(model, [images(2)], ("attention_entropy",))
    assert found.metrics["attention_entropy"] == pytest.approx(math.log(17), rel=1e-6)
