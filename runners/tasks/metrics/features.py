"""How good features are, by labels that their network never saw: nearest neighbours and a linear probe.

A row is an image: of the bank, whose labels are given, or of the split that is measured. Rows of all processes are put
in the order of the images, so that a probe is fitted in the same order however many processes there are.

Shapes: N rows, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Features of images, on the CPU.

    Attributes:
        features: what nearest neighbours compare, (N, D) float32.
        blocks: what a linear probe sees where that is something else; None: `features`.
        targets: (N, 3) int64: label, `BANK` or `MEASURED`, position in its split.
    """

    features: Tensor
    targets: Tensor
    blocks: Tensor | None = None

    def __getitem__(self, index: Tensor) -> Rows:
        blocks = None if self.blocks is None else self.blocks[index]
        return Rows(self.features[index], self.targets[index], blocks)

    def part(self, number: int) -> Rows:
        """The rows of the bank, or of the measured images."""
        return self[self.targets[:, 1] == number]

    @property
    def labels(self) -> Tensor:
        return self.targets[:, 0]

    @property
    def probed(self) -> Tensor:
        """Features of a linear probe."""
        return self.features if self.blocks is None else self.blocks

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """The rows of all parts; of none, no rows."""
        parts = [each for each in parts if len(each.targets)]  # of none the number of features is not known
        if not parts:
            return cls(torch.zeros(0, 1), torch.zeros(0, 3, dtype=torch.int64))
        features, targets = (torch.cat([getattr(each, name) for each in parts]) for name in ("features", "targets"))
        blocks = [each.blocks for each in parts if each.blocks is not None]
        return cls(features, targets, torch.cat(blocks) if blocks else None)


def rows_of_all_processes(rows: Rows, *, is_shared: bool) -> Rows:
    """The rows of all processes (a collective where there are several), in the order of the images."""
    if is_shared:
        found: list[Any] = [None] * get_world_size()
        all_gather_object(found, rows)
        rows = Rows.joined(found)
    # Stable sorts, the less important key first.
    rows = rows[torch.argsort(rows.targets[:, 2], stable=True)]
    return rows[torch.argsort(rows.targets[:, 1], stable=True)]


def feature_metrics(rows: Rows, *, spec: SelfSupervisedSpec, num_classes: int) -> dict[str, float]:
    """`knn_top1` and `linear_top1` in %, as `spec.evaluate` lists them; none of a split without an image."""
    bank, measured = rows.part(BANK), rows.part(MEASURED)
    if not len(measured.labels):
        return {}
    found: dict[str, float] = {}
    if "knn" in spec.evaluate:
        voted = nearest_neighbours(
            *(bank.features, bank.labels, measured.features, measured.labels), num_classes=num_classes, k=spec.knn_k
        )
        found["knn_top1"] = voted.top1
    if "linear" in spec.evaluate:
        fitted = linear_probe(
            *(bank.probed, bank.labels, measured.probed, measured.labels),
            num_classes=num_classes,
            seed=0,  # one draw of its weights and its order for all trials
            lr=spec.linear_lr,
            epochs=spec.linear_epochs,
        )
        found["linear_top1"] = fitted.top1
    return found
