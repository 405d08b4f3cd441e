"""Crops of a batch: what is picked out of them, and the order of the views."""

from __future__ import annotations

import pytest
import torch

from runners.data.views.crops import Crops


@pytest.fixture
def crops() -> Crops:
    """Three images with two global views of 4x4 pixels and one local view of 2x2."""
    numbers = torch.arange(3 * 2 * 3 * 16, dtype=torch.float32)
    return Crops(numbers.reshape(3, 2, 3, 4, 4), -numbers[: 3 * 3 * 4].reshape(3, 1, 3, 2, 2))


def test_views_are_those_of_all_images_global_ones_first(crops):
    assert [tuple(view.shape) for view in crops.views] == [(3, 3, 4, 4), (3, 3, 4, 4), (3, 3, 2, 2)]
    assert torch.equal(crops.views[1], crops.global_views[:, 1])
    assert torch.equal(crops.views[2], crops.local_views[:, 0])


def test_an_index_picks_images_with_all_their_views(crops):
    picked = crops[torch.tensor([2, 0])]
    assert len(crops) == 3
    assert len(picked) == 2
    assert torch.equal(picked.global_views[0], crops.global_views[2])
    assert torch.equal(picked.local_views[1], crops.local_views[0])


def test_there_may_be_no_local_views():
    crops = Crops.stack([(torch.zeros(2, 1, 4, 4), torch.zeros(0, 1, 2, 2))] * 3)
    assert len(crops.views) == 2
    assert tuple(crops[torch.tensor([1])].local_views.shape) == (1, 0, 1, 2, 2)


def test_moving_keeps_the_values(crops):
    moved = crops.to(torch.device("cpu"))
    assert torch.equal(moved.global_views, crops.global_views)
    assert torch.equal(moved.local_views, crops.local_views)
