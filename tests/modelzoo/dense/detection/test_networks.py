"""Parity with torchvision's detectors: losses, gradients, features and detections of recorded cases."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from torch import nn

from modelzoo.dense.detection.input_transform import InputTransform
from modelzoo.dense.detection.networks import mask_rcnn, retinanet
from modelzoo.dense.detection.options import DetectorOptions, InputSides
from modelzoo.dense.detection.trunk import Trunk, further_levels
from modelzoo.dense.pyramid import FeaturePyramid


class ToyBackbone(nn.Module):
    """The backbone of the recorded cases."""

    def __init__(self, channels: list[int], skipped: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels[0], 4, stride=4)
        self.downs = nn.ModuleList(nn.Conv2d(one, two, 2, stride=2) for one, two in itertools.pairwise(channels))
        self.skipped = skipped

    def forward(self, images):
        maps = [self.stem(images).tanh()]
        for down in self.downs:
            maps.append(down(maps[-1]).tanh())
        return maps[self.skipped :]


def built(golden) -> nn.Module:
    config = golden.meta["config"]
    name, backbone = golden.meta["system"], config["backbone"]
    skipped, dim = int(name == "retinanet"), backbone["fpn_out"]
    channels = backbone["channels"][skipped:]
    pyramid = FeaturePyramid(channels, [4 << level for level in range(skipped, 4)], dim)
    body = ToyBackbone(backbone["channels"], skipped)
    trunk = Trunk(body, None, pyramid, further_levels(name, channels[-1], dim), dim=dim, levels=len(channels))
    options = {
        "detector": name,
        "anchor_size": config["anchor_sizes"][0],
        "aspect_ratios": tuple(config["aspect_ratios"]),
    }
    if name == "mask_rcnn":
        before, after = config["pre_nms_top_n"], config["post_nms_top_n"]
        options |= {
            "box_dim": config["box_mlp"],
            "mask_dim": config["mask_layers"][0],
            "mask_layers": len(config["mask_layers"]),
            "candidates": (before["train"], before["test"]),
            "proposals": (after["train"], after["test"]),
            "detections": config["box_detections_per_img"],
            # All candidates, so that nothing is drawn.
            **{"rpn_samples": 10**6, "box_samples": 10**6, "rpn_positives": 1.0, "box_positives": 1.0},
        }
        num_classes = config["num_classes"]
        build = mask_rcnn
    else:
        options |= {
            "candidates": (0, config["topk_candidates"]),
            "detections": config["detections_per_img"],
            "score_threshold": config["score_thresh"],
            "nms_threshold": config["nms_thresh"],
        }
        num_classes, build = config["num_classes"], retinanet
    found = DetectorOptions(**options)
    sizes = found.anchor_sizes(trunk.num_levels)
    assert [each[0] for each in sizes] == config["anchor_sizes"]
    assert [size / sizes[0][0] for size in sizes[0]] == pytest.approx(config["octave_scales"])
    transform = InputTransform(
        InputSides(config["min_size"], config["max_size"]),
        in_chans=3,
        mean=config["image_mean"],
        std=config["image_std"],
        scales_in_training=True,
    )
    network = build(trunk, transform, num_classes=num_classes, options=found, seed=0)
    network.load_state_dict({renamed(key): value for key, value in golden.group("state.").items()}, strict=True)
    return network


def renamed(key: str) -> str:
    """Our name of a tensor of torchvision's network."""
    key = re.sub(r"^backbone\.(stem|downs)\.", r"backbone.body.\1.", key)
    key = re.sub(r"^backbone\.fpn\.extra_blocks\.", "backbone.further.", key)
    return re.sub(r"^backbone\.fpn\.", "backbone.pyramid.fpn.", key)


@pytest.mark.golden("mask_rcnn", "retinanet")
def test_losses_features_and_detections_are_those_of_torchvision(golden):
    network, tensors = built(golden), golden.tensors
    tolerance = golden.meta["tolerance"]
    num_images = len(golden.group("image."))
    images = [tensors[f"image.{index}"] for index in range(num_images)]
    targets = [golden.group(f"target.{index}.") for index in range(num_images)]
    losses = network.train()(images, targets)
    total = sum(losses.values())
    total.backward()
    seen = {f"loss.{name}": value for name, value in losses.items()} | {"loss": total}
    grads = {name: parameter.grad for name, parameter in network.named_parameters()}
    seen |= {f"grad.{name}": grads[renamed(name)] for name in golden.group("grad.") if name != "norm"}
    seen["grad.norm"] = torch.stack([grad.norm() for grad in grads.values() if grad is not None]).norm()
    network.eval()
    with torch.inference_mode():
        batch = network.transform(images)[0].tensors
        seen["transformed.images"] = batch
        seen |= {f"feature.{name}": value for name, value in network.backbone(batch).items()}
        for index, found in enumerate(network(images)):
            found = found | ({"masks": (found["masks"] > 0.5).byte()} if "masks" in found else {})
            seen |= {f"detection.{index}.{name}": value for name, value in found.items()}
    for name, value in seen.items():
        torch.testing.assert_close(value, tensors[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")
    recorded = {name for name in tensors if name.split(".")[0] in ("loss", "grad", "detection", "feature")}
    assert recorded <= set(seen)
