"""How good features are, by labels that their network never saw: nearest neighbours and a linear probe.

A row is an image: of the bank, whose labels are given, or of the split that is measured. Rows of all processes are put
in the order of the images, so that a probe is fitted in the same order however many processes there are.

Shapes: N rows, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed import all_gather_object, get_world_size

from runners.data.views.banks import BANK, MEASURED
from runners.tasks.metrics.knn import nearest_neighbours
from runners.tasks.metrics.linear_probe import linear_probe
from search_space.schema.tasks.self_supervised import SelfSupervisedSpec

__all__ = ["Rows", "feature_metrics", "rows_of_all_processes"]


@dataclass(frozen=True)
class Rows:
    """Features by their names, (N, D) float32 on the CPU, and the targets of their images.

    Attributes:
        targets: (N, 3) int64: label, `BANK` or `MEASURED`, position in its split.
    """

    features: Mapping[str, Tensor]
    targets: Tensor

    def part(self, number: int) -> tuple[dict[str, Tensor], Tensor]:
        """Features and labels of the bank, or of the measured images."""
        chosen = self.targets[:, 1] == number
        return {name: each[chosen] for name, each in self.features.items()}, self.targets[chosen, 0]


def rows_of_all_processes(rows: Rows, *, is_shared: bool) -> Rows:
    """The rows of all processes (a collective where there are several), in the order of the images."""
    if is_shared:
        found: list[Any] = [None] * get_world_size()
        all_gather_object(found, rows)
        features = {name: torch.cat([each.features[name] for each in found]) for name in rows.features}
        rows = Rows(features, torch.cat([each.targets for each in found]))
    order = torch.argsort(rows.targets[:, 1] * (rows.targets[:, 2].max() + 1) + rows.targets[:, 2])
    return Rows({name: each[order] for name, each in rows.features.items()}, rows.targets[order])


def feature_metrics(rows: Rows, *, spec: SelfSupervisedSpec, num_classes: int) -> dict[str, float]:
    """`knn_top1` of the features `knn` and `linear_top1` of the features `linear`, in %, as `spec.evaluate` lists them;
    none of a split without an image."""
    bank, bank_labels = rows.part(BANK)
    measured, labels = rows.part(MEASURED)
    if not len(labels):
        return {}
    found: dict[str, float] = {}
    if "knn" in spec.evaluate:
        voted = nearest_neighbours(
            bank["knn"], bank_labels, measured["knn"], labels, num_classes=num_classes, k=spec.knn_k
        )
        found["knn_top1"] = voted.top1
    if "linear" in spec.evaluate:
        fitted = linear_probe(
            bank["linear"],
            bank_labels,
            measured["linear"],
            labels,
            num_classes=num_classes,
            seed=0,  # one draw of its weights and its order for all trials
            lr=spec.linear_lr,
            epochs=spec.linear_epochs,
        )
        found["linear_top1"] = fitted.top1
    return found
