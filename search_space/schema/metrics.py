"""Metrics of a trial: unit and direction of each, declared only here."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from search_space.plugins.families import contributed, extended

__all__ = [
    "COST_NAMES",
    "METRICS",
    "OF_A_CLASS",
    "RANKED",
    "Direction",
    "Metric",
    "PredictionMetric",
    "define_metrics",
    "direction_of",
    "metric_named",
    "own_metric",
]

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """Metric with unit, direction and possible values; one without a direction is descriptive and ranks no variants."""

    name: str
    unit: str
    direction: Direction | None
    decimals: int
    meaning: str
    range: tuple[float, float] = (0.0, math.inf)
    is_of_images: bool = False
    """Whether it is a share of the test images, so that it changes in steps of one image."""


@dataclass(frozen=True)
class PredictionMetric(Metric):
    """Metric of a plug-in: of a classifier's predictions for a whole split.

    Attributes:
        compute: function of `runners.tasks.metrics.predictions.Predictions`: the value in `unit`, or None where it is
            undefined. It must not depend on the order of the images.
        needs_logits: not computed where the logits of the split are too many to keep.
    """

    compute: Callable[[Any], float | None] = field(kw_only=True)
    needs_logits: bool = field(default=False, kw_only=True)


_OWN_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("top1", "%", "maximize", 2, "share of test images whose top prediction is correct", (0, 100), True),
        Metric("top5", "%", "maximize", 2, "share of test images with their class in the top five", (0, 100), True),
        Metric("loss", "nats", "minimize", 4, "mean cross-entropy on the test split"),
        # Classification, from the predictions for all test images.
        Metric("balanced_accuracy", "%", "maximize", 2, "recall of a class, mean over the test split's", (0, 100)),
        Metric("macro_f1", "%", "maximize", 2, "F1 of a class, mean over those labelled or predicted", (0, 100)),
        Metric("auroc", "%", "maximize", 2, "area under the ROC curve of a class against the rest, mean", (0, 100)),
        Metric("ece", "%", "minimize", 2, "calibration error of the top prediction, 15 bins of equal width", (0, 100)),
        # Segmentation, from one confusion matrix over all pixels of the test images.
        Metric("miou", "%", "maximize", 2, "intersection over union of a class's pixels, mean over classes", (0, 100)),
        Metric("macc", "%", "maximize", 2, "share of a class's pixels that are found, mean over classes", (0, 100)),
        Metric("pixel_acc", "%", "maximize", 2, "share of labelled pixels whose class is right", (0, 100)),
        # Detection, as COCO measures it: over 10 IoU thresholds, at most 100 detections per image and category.
        Metric("box_ap", "%", "maximize", 2, "average precision of boxes, mean over IoU 0.50 to 0.95", (0, 100)),
        Metric("box_ap50", "%", "maximize", 2, "average precision of boxes at IoU 0.50", (0, 100)),
        Metric("box_ap75", "%", "maximize", 2, "average precision of boxes at IoU 0.75", (0, 100)),
        Metric("box_ap_small", "%", "maximize", 2, "box_ap of objects below 32 x 32 pixels", (0, 100)),
        Metric("box_ap_medium", "%", "maximize", 2, "box_ap of objects from 32 x 32 to 96 x 96 pixels", (0, 100)),
        Metric("box_ap_large", "%", "maximize", 2, "box_ap of objects above 96 x 96 pixels", (0, 100)),
        Metric("mask_ap", "%", "maximize", 2, "average precision of masks, mean over IoU 0.50 to 0.95", (0, 100)),
        Metric("mask_ap50", "%", "maximize", 2, "average precision of masks at IoU 0.50", (0, 100)),
        Metric("mask_ap75", "%", "maximize", 2, "average precision of masks at IoU 0.75", (0, 100)),
        Metric("mask_ap_small", "%", "maximize", 2, "mask_ap of objects below 32 x 32 pixels", (0, 100)),
        Metric("mask_ap_medium", "%", "maximize", 2, "mask_ap of objects from 32 x 32 to 96 x 96 pixels", (0, 100)),
        Metric("mask_ap_large", "%", "maximize", 2, "mask_ap of objects above 96 x 96 pixels", (0, 100)),
        # Text: over the whole test split, by scikit-learn and scipy.
        Metric("accuracy", "%", "maximize", 2, "share of test texts whose class is right", (0, 100), True),
        Metric("f1", "%", "maximize", 2, "F1 of class 1", (0, 100)),
        Metric("mcc", "%", "maximize", 2, "Matthews correlation of predicted and right classes", (-100, 100)),
        Metric("pearson", "%", "maximize", 2, "Pearson correlation of predicted and right numbers", (-100, 100)),
        Metric("spearman", "%", "maximize", 2, "Spearman correlation of predicted and right numbers", (-100, 100)),
        Metric("glue", "%", "maximize", 2, "mean over tasks of GLUE, each by its own metrics", (-100, 100)),
        Metric("mse", "", "minimize", 4, "mean squared error of the predicted numbers"),
        # Self-supervision: features of the teacher's backbone, measured by the labels of the training images.
        Metric(
            "knn_top1", "%", "maximize", 2, "share of test images whose nearest neighbours vote right", (0, 100), True
        ),
        Metric(
            "linear_top1", "%", "maximize", 2, "share of test images that a linear probe gets right", (0, 100), True
        ),
        Metric("knn_top1_untrained", "%", None, 2, "knn_top1 of the network before its training", (0, 100), True),
        Metric("linear_top1_untrained", "%", None, 2, "linear_top1 of the network before its training", (0, 100), True),
        Metric("knn_top1_pixels", "%", None, 2, "knn_top1 of the images' pixels", (0, 100), True),
        Metric("linear_top1_pixels", "%", None, 2, "linear_top1 of the images' pixels", (0, 100), True),
        Metric("teacher_entropy", "nats", None, 3, "of the teacher's mean output over the test images"),
        Metric("target_entropy", "nats", None, 3, "of the teacher's output for an image, mean over the test images"),
        # Probes (`task.probes`): measured once, after the last epoch, on `task.probe_images` test images.
        Metric(
            "cross_layer_similarity",
            "cosine",
            None,
            3,
            "between the same columns of the attention maps of adjacent blocks",
            (-1, 1),
        ),
        Metric(
            "similar_blocks",
            "%",
            None,
            1,
            "blocks with more than 90 % of columns similar to those of the previous block",
            (0, 100),
        ),
        Metric(
            "similar_block_count",
            "blocks",
            None,
            1,
            "with more than 80 % of columns above a cosine of 0.5 to those of the previous block",
        ),
        Metric(
            "head_similarity",
            "cosine",
            None,
            3,
            "between the same columns of the maps of two heads of a block",
            (-1, 1),
        ),
        Metric(
            "feature_similarity", "cosine", None, 3, "between tokens after a block and after the last block", (-1, 1)
        ),
        Metric(
            "feature_evolution",
            "ratio",
            None,
            3,
            "CKA of the features after a block with the last ones, over that of the first block's input",
        ),
        Metric("attention_entropy", "nats", None, 3, "of a query's attention weights, mean over heads and blocks"),
        Metric(
            "attention_distance", "patches", None, 2, "from a query to its attended tokens, mean over heads and blocks"
        ),
    )
}

extended("metric", _OWN_METRICS)
_DEFINED: dict[str, Metric] = {}


class _Metrics(Mapping[str, Metric]):
    """Ours, those of plug-ins, and those that sweeps with a training of the user's own define. Only the latter are not
    listed: they are of their sweep."""

    def __getitem__(self, name: str) -> Metric:
        for table in (_OWN_METRICS, contributed("metric")):
            if name in table:
                return table[name]
        return _DEFINED[name]

    def __contains__(self, name: object) -> bool:
        return name in _OWN_METRICS or name in contributed("metric") or name in _DEFINED

    def __iter__(self) -> Iterator[str]:
        return iter([*_OWN_METRICS, *contributed("metric")])

    def __len__(self) -> int:
        return len(_OWN_METRICS) + len(contributed("metric"))


METRICS: Mapping[str, Metric] = _Metrics()


def own_metric(name: str) -> Metric | None:
    """A metric of archsweep itself."""
    return _OWN_METRICS.get(name)


def define_metrics(metrics: Iterable[Metric]) -> None:
    """Enter the metrics that a sweep, or the plan of a run, defines. A later definition replaces an earlier one."""
    _DEFINED.update({metric.name: metric for metric in metrics if metric.name not in _OWN_METRICS})


class _Ranked(Collection[str]):
    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in METRICS and METRICS[name].direction is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name in METRICS if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


RANKED: Collection[str] = _Ranked()
"""Metrics with a direction, for the ranking of a table and as objectives of a search."""

OF_A_CLASS = "accuracy/"
"""Prefix of the accuracy of one class, which is measured after the last epoch: `accuracy/cat`."""

COST_NAMES = ("gmacs", "params_m")
"""Costs of a variant that are known before training, for requirements and as objectives of a search."""


def metric_named(name: str) -> Metric | None:
    """Definition of a measured name: a metric, one of the validation split (`val_top1`), or of a class
    (`accuracy/cat`); None for others.

    >>> metric_named("val_top1").unit, metric_named("accuracy/cat").name
    ('%', 'accuracy/cat')
    """
    if name.startswith(OF_A_CLASS) and name != OF_A_CLASS:
        meaning = "share of the class's test images whose top prediction is correct"
        return Metric(name, "%", "maximize", 2, meaning, (0, 100))
    known = METRICS.get(name) or METRICS.get(name.removeprefix("val_"))
    return None if known is None else replace(known, name=name)


def direction_of(name: str) -> Direction:
    """Optimisation direction of a ranked metric or a cost.

    Raises:
        KeyError: the name is neither.
    """
    direction = "minimize" if name in COST_NAMES else METRICS[name].direction
    if direction is None:
        raise KeyError(name)
    return direction
