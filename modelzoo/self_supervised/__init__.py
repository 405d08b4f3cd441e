"""Self-supervision by self-distillation (DINO, EsViT): networks, losses, teachers, schedules."""

from __future__ import annotations

from modelzoo.self_supervised.backbone import FeatureBackbone, ImageFeatures, build_feature_backbone
from modelzoo.self_supervised.build import build_self_supervised
from modelzoo.self_supervised.comparison import (
    Distance,
    Operation,
    sinkhorn_probabilities,
    teacher_probabilities,
    teacher_side,
)
from modelzoo.self_supervised.cost import measure_feature_cost
from modelzoo.self_supervised.head import ProjectionHead
from modelzoo.self_supervised.network import SelfSupervisedNetwork, ViewOutputs
from modelzoo.self_supervised.region_loss import region_loss
from modelzoo.self_supervised.schedules import cosine_schedule, teacher_temperature
from modelzoo.self_supervised.teacher import copy_to_teacher, student_weights, teacher_of, update_teacher
from modelzoo.self_supervised.view_loss import (
    entropy,
    mean_logits,
    update_center,
    view_loss,
)

__all__ = [
    "Distance",
    "FeatureBackbone",
    "ImageFeatures",
    "Operation",
    "ProjectionHead",
    "SelfSupervisedNetwork",
    "ViewOutputs",
    "build_feature_backbone",
    "build_self_supervised",
    "copy_to_teacher",
    "cosine_schedule",
    "entropy",
    "mean_logits",
    "measure_feature_cost",
    "region_loss",
    "sinkhorn_probabilities",
    "student_weights",
    "teacher_of",
    "teacher_probabilities",
    "teacher_side",
    "teacher_temperature",
    "update_center",
    "update_teacher",
    "view_loss",
]
