"""Mask R-CNN and RetinaNet of torchvision on a trunk, every part with explicit sizes and a random stream of its own.

Paper:   Mask R-CNN, He et al. 2017, arXiv:1703.06870; Focal Loss for Dense Object Detection (RetinaNet), Lin et al.
         2017, arXiv:1708.02002; anchors by level: Feature Pyramid Networks, arXiv:1612.03144.
Source:  torchvision.models.detection; losses, features and detections equal to recorded ones of torchvision 0.29.2.
Differs: sizes of the heads are options, because torchvision's (a box head of 1024 channels) are many times as large as
         a small backbone; 1000 proposals also in training, as detectron2 has it; 100 detections also of RetinaNet. Its
         loss is a mean over images of sums over the image's positives; other libraries divide by those of the batch, so
         that learning rates do not carry over exactly.

Shapes:  K classes.
"""

from __future__ import annotations

from torch import nn
from torchvision.models.detection import MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from modelzoo.dense.detection.input_transform import InputTransform
from modelzoo.dense.detection.options import DetectorOptions
from modelzoo.dense.detection.trunk import Trunk
from modelzoo.factory.part_streams import own_random_numbers

__all__ = ["anchors_of", "mask_rcnn", "retinanet"]

_BOX_GRID, _MASK_GRID = 7, 14  # cells to which the maps inside a box are pooled


def anchors_of(options: DetectorOptions, num_levels: int) -> AnchorGenerator:
    """Anchors of every level: each size in each aspect ratio, centred at every pixel of the map."""
    return AnchorGenerator(options.anchor_sizes(num_levels), (options.aspect_ratios,) * num_levels)


def mask_rcnn(
    trunk: Trunk, transform: InputTransform, *, num_classes: int, options: DetectorOptions, seed: int
) -> MaskRCNN:
    """Mask R-CNN of K classes, which are the labels 1..K."""
    dim, anchors = trunk.out_channels, anchors_of(options, trunk.num_levels)
    per_location = anchors.num_anchors_per_location()[0]
    with own_random_numbers(seed, "rpn_head"):
        rpn_head = RPNHead(dim, per_location)
    with own_random_numbers(seed, "box_head"):
        box_head = TwoMLPHead(dim * _BOX_GRID**2, options.box_dim)
        box_predictor = FastRCNNPredictor(options.box_dim, num_classes + 1)
    with own_random_numbers(seed, "mask_head"):
        mask_head = MaskRCNNHeads(dim, (options.mask_dim,) * options.mask_layers, 1)
        mask_predictor = MaskRCNNPredictor(options.mask_dim, options.mask_dim, num_classes + 1)
    before, after = options.candidates, options.proposals
    network = MaskRCNN(
        trunk,
        min_size=transform.min_size,
        max_size=transform.max_size,
        rpn_anchor_generator=anchors,
        rpn_head=rpn_head,
        rpn_pre_nms_top_n_train=before[0],
        rpn_pre_nms_top_n_test=before[1],
        rpn_post_nms_top_n_train=after[0],
        rpn_post_nms_top_n_test=after[1],
        rpn_batch_size_per_image=options.rpn_samples,
        rpn_positive_fraction=options.rpn_positives,
        box_roi_pool=MultiScaleRoIAlign(list(trunk.names), _BOX_GRID, sampling_ratio=2),
        box_head=box_head,
        box_predictor=box_predictor,
        box_score_thresh=options.score_threshold,
        box_nms_thresh=options.nms_threshold,
        box_detections_per_img=options.detections,
        box_batch_size_per_image=options.box_samples,
        box_positive_fraction=options.box_positives,
        mask_roi_pool=MultiScaleRoIAlign(list(trunk.names), _MASK_GRID, sampling_ratio=2),
        mask_head=mask_head,
        mask_predictor=mask_predictor,
    )
    network.transform = transform
    return network


def retinanet(
    trunk: Trunk, transform: InputTransform, *, num_classes: int, options: DetectorOptions, seed: int
) -> RetinaNet:
    """RetinaNet of K classes, which are the labels 0..K-1."""
    anchors = anchors_of(options, trunk.num_levels)
    with own_random_numbers(seed, "dense_head"):
        head: nn.Module = RetinaNetHead(trunk.out_channels, anchors.num_anchors_per_location()[0], num_classes)
    network = RetinaNet(
        trunk,
        num_classes,
        min_size=transform.min_size,
        max_size=transform.max_size,
        anchor_generator=anchors,
        head=head,
        score_thresh=options.score_threshold,
        nms_thresh=options.nms_threshold,
        detections_per_img=options.detections,
        topk_candidates=options.candidates[1],
    )
    network.transform = transform
    return network
