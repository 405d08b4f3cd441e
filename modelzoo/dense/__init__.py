"""Dense prediction: backbones with feature maps, pyramids, and segmentation networks from an architecture."""

from __future__ import annotations

from modelzoo.dense.backbone import Backbone, build_backbone
from modelzoo.dense.cost import SegmenterCost, measure_segmenter_cost
from modelzoo.dense.loss import pixel_cross_entropy, segmentation_loss
from modelzoo.dense.options import HEADS, Layout, SegmenterOptions, resolve_options
from modelzoo.dense.pyramid import PYRAMIDS, LevelNorms, build_pyramid
from modelzoo.dense.segmenter import Segmentation, Segmenter, build_segmenter

__all__ = [
    "HEADS",
    "PYRAMIDS",
    "Backbone",
    "Layout",
    "LevelNorms",
    "Segmentation",
    "Segmenter",
    "SegmenterCost",
    "SegmenterOptions",
    "build_backbone",
    "build_pyramid",
    "build_segmenter",
    "measure_segmenter_cost",
    "pixel_cross_entropy",
    "resolve_options",
    "segmentation_loss",
]
