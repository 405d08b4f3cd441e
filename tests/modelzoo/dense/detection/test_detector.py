"""Detectors on architectures: labels, images without objects, sizes, shared weights, cost."""

from __future__ import annotations

import pytest
import torch

from modelzoo.dense.detection import DETECTORS, DetectorOptions, InputSides, build_detector, measure_detector_cost
from modelzoo.dense.detection.options import scaled_size
from search_space.parsing.errors import SpecError
from search_space.schema.trial import ArchSpec

GROUPMIX = ArchSpec.model_validate({"model": "groupmixformer_mobile_224", "options": {"depths": [1, 1, 1, 1]}})
VIT = ArchSpec.model_validate({"model": "vit", "depth": 1, "embed_dim": 32, "num_heads": 2, "patch_size": 8})
FOCAL = ArchSpec.model_validate({"model": "focal_tiny_patch4_window7_224", "options": {"depths": [1, 1, 1, 1]}})
SMALL = {"pyramid_dim": 16, "box_dim": 24, "mask_dim": 8, "mask_layers": 1, "anchor_size": 8, "finest_stride": 4}
FEW = {"proposals": (50, 20), "box_samples": 32, "score_threshold": 0.0}
SHAPE = {"num_classes": 3, "img_size": 64, "in_chans": 3}


def small(detector: str, arch: ArchSpec = GROUPMIX, *, sides: InputSides | None = None, seed: int = 0, **options):
    found = DetectorOptions(detector=detector, **{**SMALL, **options})
    return build_detector(arch, options=found, sides=sides, seed=seed, **SHAPE)


def target(*boxes: tuple[float, ...], label: int = 2, side: int = 64) -> dict[str, torch.Tensor]:
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.full((len(boxes),), label),
        "masks": torch.ones(len(boxes), side, side, dtype=torch.uint8),
    }


def images(number: int, *size: int) -> list[torch.Tensor]:
    stream = torch.Generator().manual_seed(0)
    return [torch.randn(3, *(size or (64, 64)), generator=stream) for _ in range(number)]


@pytest.mark.slow
@pytest.mark.parametrize("detector", DETECTORS)
def test_the_last_label_is_found_under_its_own_number(detector):
    """Trained on one box of the label K-1, the detector finds it; a shift by one would raise or give another label."""
    torch.manual_seed(0)
    model = small(detector, **FEW)
    image, wanted = images(1), target((8, 8, 40, 40), label=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(25):
        optimizer.zero_grad()
        sum(model(image, [wanted]).values()).backward()
        optimizer.step()
    found = model.eval()(image)[0]
    assert found["labels"][0] == 2


@pytest.mark.parametrize("detector", DETECTORS)
def test_images_without_objects_are_trained_on(detector):
    losses = small(detector)(images(2), [target(), target((4, 4, 30, 30))])
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)


@pytest.mark.parametrize(("detector", "arch"), [("mask_rcnn", VIT), ("retinanet", VIT), ("mask_rcnn", FOCAL)])
def test_every_parameter_has_a_gradient(detector, arch):
    """Also with levels that a detector leaves out: distributed training waits for every gradient."""
    model = small(detector, arch, finest_stride=8 if detector == "retinanet" else 4)
    sum(model(images(1), [target((4, 4, 30, 30))]).values()).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


@pytest.mark.parametrize("arch", [GROUPMIX, FOCAL])
def test_boxes_are_those_of_the_original_image(arch):
    """An image of another size than the canvas is scaled and padded, and detections come back in its pixels."""
    model = small("mask_rcnn", arch, sides=InputSides(48, 64), score_threshold=0.0).eval()
    found = model(images(1, 100, 300))[0]
    assert found["masks"].shape[-2:] == (100, 300)
    assert found["boxes"][:, 2].max() > 100  # pixels of the image, not of the canvas
    assert found["boxes"][:, 2].max() <= 300
    assert found["boxes"][:, 3].max() <= 100


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_image_does_not_see_another(detector):
    model = small(detector, score_threshold=0.0).eval()
    one, other = images(2)
    alone, beside = model([one])[0], model([one, other * 3])[0]
    torch.testing.assert_close(alone["boxes"], beside["boxes"], atol=1e-4, rtol=1e-4)


def test_backbones_have_equal_weights_under_every_detector_and_heads_on_every_backbone():
    one, other = small("mask_rcnn"), small("retinanet")
    weights = other.backbone.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in one.backbone.state_dict().items())
    on_vit = small("mask_rcnn", VIT).network.roi_heads.state_dict()
    assert all(torch.equal(value, on_vit[name]) for name, value in one.network.roi_heads.state_dict().items())
    assert not torch.equal(
        one.network.rpn.head.cls_logits.weight, small("mask_rcnn", seed=1).network.rpn.head.cls_logits.weight
    )


def test_the_global_generator_is_left_as_it_was():
    before = torch.get_rng_state()
    small("mask_rcnn")
    assert torch.equal(torch.get_rng_state(), before)


def test_training_images_are_taken_as_they_come():
    """Their scale is random, and belongs to the data; 64 would be scaled to 32 otherwise."""
    model = small("mask_rcnn", sides=InputSides(32, 32))
    assert model.network.transform(images(1))[0].tensors.shape[-2:] == (64, 64)
    assert model.eval().network.transform(images(1))[0].tensors.shape[-2:] == (32, 32)


def test_images_are_normalised_once():
    model = small("retinanet").eval()
    [image] = images(1)
    assert torch.equal(model.network.transform([image])[0].tensors[0], image)


@pytest.mark.parametrize(
    ("size", "sides", "expected"),
    [((480, 640), (800, 1333), (800, 1066)), ((500, 1500), (800, 1333), (444, 1333)), ((64, 64), (64, 64), (64, 64))],
)
def test_scaled_sizes_are_those_of_torchvision(size, sides, expected):
    """By hand: factor min(short / 480, long / 640), rounded down."""
    assert scaled_size(size, InputSides(*sides)) == expected
    model = small("retinanet", sides=InputSides(*sides)).eval()
    image, _ = model.network.transform.resize(torch.zeros(3, *size))
    assert tuple(image.shape[-2:]) == expected


def test_a_model_of_one_size_refuses_larger_images():
    with pytest.raises(SpecError) as caught:
        small("mask_rcnn", FOCAL, sides=InputSides(64, 128))
    assert str(caught.value) == (
        "task.long_side: 'focal_tiny_patch4_window7_224' takes images of 64x64 only, so the longer side of an image is "
        "at most 64, but got 128\n  write long_side: 64 or arch.img_size: 128; docs/dense.md lists models of any size"
    )


def test_a_stride_that_a_model_does_not_have_is_refused():
    with pytest.raises(SpecError, match="'groupmixformer_mobile_224' has no feature map of stride 2 below 32"):
        small("mask_rcnn", finest_stride=2)


@pytest.mark.parametrize(("detector", "anchors"), [("mask_rcnn", 3), ("retinanet", 9)])
def test_cost_of_the_dense_head_by_hand(detector, anchors):
    """Maps of 16, 8, 4, 2 pixels, and of the further levels; C = 16 channels, A anchors a pixel, K = 3 classes."""
    options = DetectorOptions(detector=detector, **SMALL)
    cost = measure_detector_cost(GROUPMIX, options=options, **SHAPE)
    model = small(detector)
    c, k = 16, 3
    pixels = 16**2 + 8**2 + 4**2 + 2**2 + (1 if detector == "mask_rcnn" else 1 + 1)
    if detector == "mask_rcnn":
        head = pixels * (9 * c * c + c * anchors + c * 4 * anchors)
    else:
        head = pixels * 9 * c * (8 * c + anchors * k + anchors * 4)
        head += 9 * model.backbone.channels[-1] * c + 9 * c * c  # P6 and P7, one pixel each
    channels = model.backbone.channels
    sides = (16, 8, 4, 2)
    pyramid = sum(side**2 * (dim * c + 9 * c * c) for side, dim in zip(sides, channels, strict=True))
    assert cost.dense.gmacs == pytest.approx(cost.backbone.gmacs + (pyramid + head) / 1e9, rel=1e-9)
    assert cost.total.params_m == pytest.approx(sum(each.numel() for each in model.parameters()) / 1e6)
    assert cost.size == (64, 64)


@pytest.mark.thorough
@pytest.mark.parametrize(("detector", "published"), [("retinanet", 39.4), ("mask_rcnn", 48.8)])
def test_parameters_are_those_of_published_detectors(detector, published):
    """Focal Transformer, arXiv:2107.00641v1, table 4: Focal-T on COCO's 80 classes, in 10^6.

    With the default sizes of all heads, on a canvas on which every stage has its pooled windows (at 224 the last has
    none). RetinaNet agrees to the printed digit, the published Mask R-CNN has 0.1 million more. P6 on P5 instead of the
    backbone's last map would be 1.2 million fewer.
    """
    arch = ArchSpec.model_validate({"model": "focal_tiny_patch4_window7_224"})
    with torch.device("meta"):
        model = build_detector(
            arch, num_classes=80, img_size=896, in_chans=3, options=DetectorOptions(detector=detector)
        )
    params_m = sum(each.numel() for each in model.parameters()) / 1e6
    assert params_m == pytest.approx(published, rel=0.004)
