"""Whole images: padding and windows against loops by hand, on the real networks."""

from __future__ import annotations

import pytest
import torch

from modelzoo.dense import SegmenterOptions, build_segmenter
from modelzoo.dense.inference import image_logits, window_starts
from search_space.schema.trial import ArchSpec

OPTIONS = SegmenterOptions(head_dim=8, pyramid_dim=8, aux_weight=0)


def segmenter(canvas, **arch):
    model = build_segmenter(ArchSpec(**arch), num_classes=3, img_size=canvas, in_chans=3, options=OPTIONS, seed=0)
    return model.eval()


@pytest.mark.parametrize(
    ("side", "window", "starts"),
    [(6, 6, [0]), (10, 6, [0, 4]), (11, 6, [0, 4, 5]), (1024, 512, [0, 341, 512]), (2048, 1024, [0, 682, 1024])],
)
def test_windows_cover_the_side_and_end_with_it(side, window, starts):
    assert window_starts(side, window) == starts


@torch.inference_mode()
def test_a_network_of_any_size_sees_the_whole_image_once():
    model = segmenter((64, 64), model="pvt_v2_b0", options={"depths": [1, 1, 1, 1]})
    assert model.backbone.multiple_of is not None
    images = torch.randn(2, 3, 64, 96)
    assert torch.equal(image_logits(model, images, whole=True), model(images).logits)


@torch.inference_mode()
def test_sides_are_padded_at_the_right_and_below():
    model = segmenter((32, 32), model="vit", depth=1, embed_dim=24, num_heads=3, patch_size=8)
    images = torch.randn(1, 3, 37, 45)
    multiple = model.backbone.multiple_of
    assert multiple is not None
    height, width = (-(-side // multiple) * multiple for side in (37, 45))
    whole = torch.zeros(1, 3, height, width)
    whole[..., :37, :45] = images
    assert torch.equal(image_logits(model, images, whole=True), model(whole).logits[..., :37, :45])


@torch.inference_mode()
def test_a_network_of_one_size_slides_and_averages_overlaps():
    model = segmenter((32, 32), model="vit", depth=1, embed_dim=24, num_heads=3, patch_size=8)
    images = torch.randn(1, 3, 32, 40)
    found = image_logits(model, images, whole=False)
    first, last = model(images[..., :32]).logits, model(images[..., 8:]).logits
    assert torch.equal(found[..., :8], first[..., :8])
    assert torch.equal(found[..., 32:], last[..., 24:])
    torch.testing.assert_close(found[..., 8:32], (first[..., 8:] + last[..., :24]) / 2)


@torch.inference_mode()
def test_an_image_smaller_than_the_canvas_is_padded_to_it():
    model = segmenter((32, 32), model="vit", depth=1, embed_dim=24, num_heads=3, patch_size=8)
    images = torch.randn(1, 3, 20, 32)
    whole = torch.zeros(1, 3, 32, 32)
    whole[..., :20, :] = images
    assert torch.equal(image_logits(model, images, whole=False), model(whole).logits[..., :20, :])
