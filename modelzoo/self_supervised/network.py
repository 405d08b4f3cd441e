"""Self-supervised network: a backbone and its heads over several views of the same images.

Views of one size are one batch of the backbone, as released: batch norms see all of them, and a backward pass has two
forward passes, of the global and of the local views. Each head then takes the features of all views at once.

Weight decay: there is no `no_weight_decay`, on purpose. The released loop decays everything but biases and parameters
of one dimension, class token and position embedding included.

Shapes:  V views (global ones first) of B images, D features, K prototypes; N_v regions of view v.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from modelzoo.dense.parameter_groups import matcher_with_prefix
from modelzoo.self_supervised.backbone import FeatureBackbone
from modelzoo.self_supervised.head import ProjectionHead

__all__ = ["SelfSupervisedNetwork", "ViewOutputs"]


class ViewOutputs(NamedTuple):
    """Rows of all views, view 0 first; within a view all images, and of each image all regions.

    Attributes:
        logits: (V * B, K).
        region_logits: (sum of B * N_v, K); None without region head, as the next two.
        region_features: (sum of B * N_v, D), before the region head.
        num_regions: N_v of every view.
    """

    logits: torch.Tensor
    region_logits: torch.Tensor | None = None
    region_features: torch.Tensor | None = None
    num_regions: tuple[int, ...] | None = None


class SelfSupervisedNetwork(nn.Module):
    """Views -> `ViewOutputs`; one for the student, and one for the teacher (`teacher.py`)."""

    def __init__(
        self, backbone: FeatureBackbone, head: ProjectionHead, region_head: ProjectionHead | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.region_head = backbone, head, region_head

    def last_layers(self) -> list[nn.Parameter]:
        """Parameters of the last layers of the heads, which DINO does not train in the first epoch."""
        heads = [head for head in (self.head, self.region_head) if head is not None]
        return [parameter for head in heads for parameter in head.last_layer.parameters()]

    def group_matcher(self, coarse: bool = False) -> Any:
        """Parameter groups by depth, for layer-wise learning rates; the heads are the last group."""
        return matcher_with_prefix(self.backbone.group_matcher(coarse=coarse), "backbone.")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block of the backbone in the backward pass instead of keeping its activations."""
        self.backbone.set_grad_checkpointing(enable)

    def forward(self, views: Sequence[torch.Tensor]) -> ViewOutputs:
        """Outputs of views (B, in_chans, H, W), which may differ in size."""
        batches = [
            torch.cat(list(group)) for _, group in itertools.groupby(views, key=lambda view: tuple(view.shape[-2:]))
        ]
        if self.region_head is None:
            return ViewOutputs(self.head(torch.cat([self.backbone(batch) for batch in batches])))
        found = [self.backbone.with_regions(batch) for batch in batches]
        features = torch.cat([each.regions.flatten(0, 1) for each in found])
        num_images = len(views[0])
        return ViewOutputs(
            self.head(torch.cat([each.pooled for each in found])),
            self.region_head(features),
            features,
            tuple(each.regions.shape[1] for each in found for _ in range(len(each.regions) // num_images)),
        )
