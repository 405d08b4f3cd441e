"""Detectors: Mask R-CNN and RetinaNet of torchvision on the pyramid of an architecture."""

from __future__ import annotations

from modelzoo.dense.detection.cost import DetectorCost, measure_detector_cost
from modelzoo.dense.detection.detector import Detector, build_detector
from modelzoo.dense.detection.options import DETECTORS, DetectorOptions, InputSides

__all__ = [
    "DETECTORS",
    "Detector",
    "DetectorCost",
    "DetectorOptions",
    "InputSides",
    "build_detector",
    "measure_detector_cost",
]
