"""What can be measured of a trial: unit and direction of every metric. Metrics are declared once, here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["COST_NAMES", "METRICS", "RANKED", "Direction", "Metric", "direction_of"]

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """A number with unit and direction; without a direction it describes, and nothing can be ranked by it."""

    name: str
    unit: str
    direction: Direction | None
    decimals: int
    meaning: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("top1", "%", "maximize", 2, "share of test images whose first guess is right"),
        Metric("top5", "%", "maximize", 2, "share of test images with the right class among the first five guesses"),
        Metric("loss", "nats", "minimize", 4, "mean cross-entropy on the test images"),
        # Probes (`task.probes`): measured once, after the last epoch, on `task.probe_images` test images.
        Metric(
            "cross_layer_similarity", "cosine", None, 3, "of equal columns of attention maps of neighbouring blocks"
        ),
        Metric("similar_blocks", "%", None, 1, "blocks with more than 90 % of columns like those of the block before"),
        Metric("head_similarity", "cosine", None, 3, "of equal columns of the maps of two heads of a block"),
        Metric("feature_similarity", "cosine", None, 3, "of tokens after a block with those after the last block"),
        Metric("attention_entropy", "nats", None, 3, "of what a query attends to, mean over heads and blocks"),
        Metric(
            "attention_distance", "patches", None, 2, "from a query to what it attends to, mean over heads and blocks"
        ),
    )
}

RANKED = tuple(name for name, metric in METRICS.items() if metric.direction is not None)
"""Metrics that a table can rank by and a search can optimise."""

COST_NAMES = ("gmacs", "params_m")
"""What is known of a variant before it trains: requirements speak of it, and a search can have it as an objective."""


def direction_of(name: str) -> Direction:
    """Which end of a ranked metric or a cost is the better one.

    Raises:
        KeyError: it is neither.
    """
    direction = "minimize" if name in COST_NAMES else METRICS[name].direction
    if direction is None:
        raise KeyError(name)
    return direction
