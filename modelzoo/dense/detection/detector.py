"""Detector of an architecture: labels from 0 whichever network is inside, losses in training, detections in evaluation.

Shapes:  B images, K classes, N objects or detections of one image, H x W pixels of an image (each has its own).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, RetinaNet

from modelzoo.dense.backbone import Backbone
from modelzoo.dense.detection.input_transform import InputTransform
from modelzoo.dense.detection.networks import mask_rcnn, retinanet
from modelzoo.dense.detection.options import DETECTORS, DetectorOptions, InputSides
from modelzoo.dense.detection.trunk import build_trunk
from modelzoo.dense.parameter_groups import matcher_with_prefix
from search_space.parsing.errors import Problem, SpecError, did_you_mean
from search_space.schema.trial import ArchSpec

__all__ = ["Detector", "build_detector"]

_BODY = "network.backbone.body."


class Encoder(nn.Module):
    """Images (C, H, W) of any sizes -> feature maps of the batch that a detector makes of them.

    The backbone as a module by itself, for what looks at attention; it shares all weights with the detector.
    """

    def __init__(self, transform: InputTransform, body: Backbone) -> None:
        super().__init__()
        self.transform, self.body = transform, body

    def forward(self, images: Sequence[Tensor]) -> list[Tensor]:
        return self.body(self.transform(list(images))[0].tensors)


class Detector(nn.Module):
    """Images -> losses by name (training), or the detections of each image (evaluation).

    Attributes:
        network: Of torchvision.
        has_masks: Whether it is trained on masks, and detections have masks.
    """

    def __init__(self, network: MaskRCNN | RetinaNet) -> None:
        super().__init__()
        self.network = network
        self.has_masks = isinstance(network, MaskRCNN)

    @property
    def backbone(self) -> Backbone:
        """Images -> feature maps."""
        body = self.network.backbone.body  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(body, Backbone)
        return body

    @property
    def encoder(self) -> Encoder:
        """Images -> feature maps, scaled and padded as the detector sees them."""
        transform = self.network.transform
        assert isinstance(transform, InputTransform)
        return Encoder(transform, self.backbone)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters without weight decay: those of the backbone; norms and biases timm excludes itself."""
        return {f"{_BODY}{name}" for name in self.backbone.no_weight_decay()}

    def group_matcher(self, coarse: bool = False) -> Any:
        """Parameter groups by depth, for layer-wise learning rates; neck and heads are the last group."""
        return matcher_with_prefix(self.backbone.group_matcher(coarse=coarse), _BODY)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block of the backbone in the backward pass instead of keeping its activations."""
        self.backbone.set_grad_checkpointing(enable)

    def dense_outputs(self, images: Tensor) -> list[Tensor]:
        """What does not depend on the content of the images (B, C, H, W): the scores and boxes of all anchors."""
        network: Any = self.network
        levels = list(network.backbone(images).values())
        if self.has_masks:
            scores, boxes = network.rpn.head(levels)
            return [*scores, *boxes]
        return list(network.head(levels).values())

    def forward(self, images: Sequence[Tensor] | Tensor, targets: Sequence[dict[str, Tensor]] | None = None) -> Any:
        """Losses, a dict of scalars; in evaluation mode detections, a list of dicts.

        Args:
            images: (C, H, W) each, normalised. In training they have their scale already. One tensor (B, C, H, W)
                without targets: `dense_outputs` of them.
            targets: of each image `boxes` (N, 4), left, top, right, bottom; `labels` (N,) in 0..K-1, int64; for masks
                `masks` (N, H, W) uint8. Detections also have `scores` (N,) and as masks probabilities (N, 1, H, W).
        """
        if isinstance(images, Tensor):
            return self.dense_outputs(images)
        shift = 1 if self.has_masks else 0  # 0 is the background of Mask R-CNN
        if self.training:
            assert targets is not None, "training needs targets"
            return self.network(list(images), [each | {"labels": each["labels"] + shift} for each in targets])
        return [each | {"labels": each["labels"] - shift} for each in self.network(list(images))]


def build_detector(
    arch: ArchSpec,
    *,
    num_classes: int,
    img_size: int | tuple[int, int],
    in_chans: int,
    sides: InputSides | None = None,
    options: DetectorOptions | None = None,
    seed: int | None = None,
) -> Detector:
    """Build a detector in training mode, freshly initialised on the current default device.

    Args:
        num_classes: Without background.
        img_size: The canvas for which the backbone is built.
        sides: To which images are scaled; None: so that every image fits into a square of the canvas' shorter side.
        options: None: Mask R-CNN with its defaults.
        seed: As in `build_backbone`, whose weights the backbone has; each other part draws from a stream of its own.

    Raises:
        SpecError: architecture, canvas, sides and options do not fit; paths are below `arch` and `task`.
    """
    options = options or DetectorOptions()
    if options.detector not in DETECTORS:
        hint = did_you_mean(options.detector, DETECTORS)
        raise SpecError(Problem(f"unknown detector {options.detector!r}", path="task.detector", hint=hint))
    canvas = (img_size, img_size) if isinstance(img_size, int) else (img_size[0], img_size[1])
    sides = sides or InputSides(min(canvas), min(canvas))
    trunk = build_trunk(arch, canvas=canvas, in_chans=in_chans, options=options, seed=seed)
    backbone = trunk.body
    assert isinstance(backbone, Backbone)
    if backbone.multiple_of is None and sides.long > min(canvas):
        raise SpecError(_does_not_fit(arch, canvas, sides))
    transform = InputTransform(
        sides,
        in_chans=in_chans,
        canvas=canvas if backbone.multiple_of is None else None,
        multiple_of=backbone.multiple_of or 1,
    )
    build = mask_rcnn if options.detector == "mask_rcnn" else retinanet
    own = torch.initial_seed() if seed is None else seed
    return Detector(build(trunk, transform, num_classes=num_classes, options=options, seed=own))


def _does_not_fit(arch: ArchSpec, canvas: tuple[int, int], sides: InputSides) -> Problem:
    return Problem(
        f"{arch.model!r} takes images of {canvas[0]}x{canvas[1]} only, so the longer side of an image is at most "
        f"{min(canvas)}, but got {sides.long}",
        path="task.long_side",
        hint=f"write long_side: {min(canvas)} or arch.img_size: {sides.long}; docs/dense.md lists models of any size",
    )
