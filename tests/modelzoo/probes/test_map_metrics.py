"""Map metrics: similarity, entropy and distance equal values by hand and the recorded reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from modelzoo.probes import (
    Positions,
    attention_distance,
    attention_entropy,
    cross_layer_similarity,
    feature_similarity,
    head_axis_similarity,
    head_similarity,
    similar_block_count,
    similar_blocks,
    similar_share,
)


@pytest.mark.golden("attention_similarity")
def test_similarities_equal_the_recorded_ones(golden):
    maps, features = golden.tensors["attn"], golden.tensors["features"]
    found = cross_layer_similarity(list(maps))
    heads = torch.stack([head_similarity(one) for one in maps])
    along_heads = torch.stack([head_axis_similarity(*maps.double()[i : i + 2]) for i in range(len(maps) - 1)])
    # The reference was computed in float64 from the same float32 maps.
    exact = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(found, golden.tensors["M_column"], **exact)
    torch.testing.assert_close(found.mean(dim=(2, 3, 4)), golden.tensors["M_column_mean"], **exact)
    torch.testing.assert_close(heads, golden.tensors["within_layer_head_similarity"], **exact)
    torch.testing.assert_close(along_heads, golden.tensors["head_axis_cosine_consecutive"], **exact)
    to_last = feature_similarity(list(features))
    torch.testing.assert_close(to_last, golden.tensors["feature_similarity_to_last"], **exact)


def random_maps(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5)).softmax(dim=-1)


def test_similarity_is_the_cosine_of_columns():
    maps = random_maps(3, 2, 2, 5, 4)
    found = cross_layer_similarity(list(maps))
    assert found.shape == (3, 3, 2, 2, 4)
    arrays = maps.double().numpy()
    for p, q, b, h, t in np.ndindex(*found.shape):
        one, other = arrays[p, b, h, :, t], arrays[q, b, h, :, t]
        want = one @ other / math.sqrt(one @ one) / math.sqrt(other @ other)
        assert found[p, q, b, h, t].item() == pytest.approx(want, rel=1e-12)


def test_rows_do_not_count():
    """The maps have similar rows but different columns: key 0 has weight for query 0 in one, query 1 in the other."""
    one = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    other = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])
    assert cross_layer_similarity([one, other])[0, 1].tolist() == [[[0.0, 0.0]]]


def test_a_column_of_zeros_is_similar_to_nothing():
    zeros = torch.zeros(1, 1, 3, 3)
    assert cross_layer_similarity([zeros, random_maps(1, 1, 3, 3)])[0].abs().max() == 0


def test_similar_share_counts_columns_above_the_threshold():
    similarity = torch.tensor([0.95, 0.91, 0.9, 0.2]).expand(2, 2, 1, 1, 4)
    assert similar_share(similarity)[0, 1].item() == 0.5  # 0.9 itself does not exceed 0.9
    assert similar_share(similarity, threshold=0.1)[0, 1].item() == 1.0


def test_similar_blocks_compares_each_with_the_previous_one():
    similarity = torch.zeros(4, 4, 1, 1, 10)
    similarity[0, 1, ..., :10] = 1.0  # block 1: all columns
    similarity[1, 2, ..., :9] = 1.0  # block 2: 90 %, which is not more than 90 %
    similarity[2, 3, ..., :5] = 1.0
    assert similar_blocks(similarity).item() == pytest.approx(1 / 3)
    assert similar_blocks(similarity, share=0.4).item() == pytest.approx(1.0)


def test_the_papers_count_of_similar_blocks():
    """The appendix: alike above 0.5, similar above 80 %, and the number of these blocks."""
    similarity = torch.zeros(5, 5, 1, 2, 5)
    similarity[0, 1] = 0.51  # all columns
    similarity[1, 2, 0, 0, :] = similarity[1, 2, 0, 1, :4] = 0.6  # 9 of 10
    similarity[2, 3, 0, :, :4] = 1.0  # 80 %, which is not more than 80 %
    similarity[3, 4] = 0.5  # does not exceed 0.5
    similarity[0, 4] = similarity[4, 0] = 1.0  # not adjacent
    assert similar_block_count(similarity).item() == 2
    assert similar_blocks(similarity).item() == 0  # another definition, which did not change
    assert similar_block_count(similarity, share=0.7).item() == 3


def test_entropy_of_even_and_of_sharp_attention():
    even, sharp = torch.full((1, 1, 3, 8), 1 / 8), torch.eye(8)[None, None]
    assert attention_entropy(even).item() == pytest.approx(math.log(8), rel=1e-6)
    assert attention_entropy(sharp).item() == 0


def test_entropy_is_a_mean_over_queries():
    rows = torch.tensor([[[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]]])
    assert attention_entropy(rows).item() == pytest.approx(math.log(2) / 2)


def test_distance_of_even_attention_on_two_by_two_patches():
    """The distances of a patch to the four are 0, 1, 1 and sqrt 2."""
    even = torch.full((1, 2, 4, 4), 1 / 4)
    found = attention_distance(even, Positions((2, 2), (2, 2)))
    assert found.tolist() == [[pytest.approx((2 + math.sqrt(2)) / 4)] * 2]


def test_distance_excludes_the_prefix():
    """Half of the attention is to the class token; only the other half has a distance."""
    rows = torch.zeros(1, 1, 3, 3)
    rows[..., 0], rows[0, 0, 1, 2], rows[0, 0, 2, 1] = 0.5, 0.5, 0.5
    assert attention_distance(rows, Positions((1, 2), (1, 2), num_prefix=1)).item() == pytest.approx(1.0)


def test_distance_to_the_keys_of_a_smaller_map():
    """Queries are at 0.5, 1.5, 2.5, 3.5; keys at the centres of the halves, 1 and 3."""
    rows = torch.tensor([[[[1.0, 0.0]] * 4]])
    found = attention_distance(rows, Positions((1, 4), (1, 2)))
    assert found.item() == pytest.approx((0.5 + 0.5 + 1.5 + 2.5) / 4)


def test_distance_is_measured_in_a_grid_that_need_not_be_square():
    sharp = torch.zeros(1, 1, 6, 6)
    sharp[..., 5] = 1.0  # all queries attend to the corner (1, 2) of a 2x3 grid
    want = sum(math.hypot(1 - row, 2 - column) for row in range(2) for column in range(3)) / 6
    assert attention_distance(sharp, Positions((2, 3), (2, 3))).item() == pytest.approx(want)


def test_features_are_compared_with_the_last_ones():
    features = [torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 2.0]]])]
    assert feature_similarity(features).flatten().tolist() == pytest.approx([0.0, 0.8, 1.0])
