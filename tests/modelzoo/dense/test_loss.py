"""Pixel loss: a mean over labelled pixels, whatever surrounds them; 0 without any."""

from __future__ import annotations

import math

import pytest
import torch

from modelzoo.dense import Segmentation, pixel_cross_entropy, segmentation_loss


def test_hand_computed_mean_over_labelled_pixels():
    """Two classes, logits (0, ln 3): probabilities 1/4 and 3/4; one pixel of each class, two without label."""
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    labels = torch.tensor([[[0, 1], [255, 255]]])
    want = (math.log(4) + math.log(4 / 3)) / 2
    assert pixel_cross_entropy(logits, labels).item() == pytest.approx(want, rel=1e-6)
    others = torch.where(labels == 255, 7, labels)
    assert pixel_cross_entropy(logits, others, ignore_label=7).item() == pytest.approx(want, rel=1e-6)


def test_no_labelled_pixel_gives_0_and_a_gradient_of_0():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = pixel_cross_entropy(logits, torch.full((2, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_auxiliary_loss_is_added_with_its_weight():
    logits, auxiliary = torch.randn(2, 1, 3, 4, 4)
    labels = torch.randint(0, 3, (1, 4, 4))
    one, two = pixel_cross_entropy(logits, labels), pixel_cross_entropy(auxiliary, labels)
    assert segmentation_loss(Segmentation(logits, auxiliary), labels, aux_weight=0.4) == one + 0.4 * two
    assert segmentation_loss(Segmentation(logits, None), labels, aux_weight=0.4) == one
