"""What can be measured of a trial: unit and direction of every metric. Metrics are declared once, here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "Metric"]


@dataclass(frozen=True)
class Metric:
    """A number with unit and direction."""

    name: str
    unit: str
    direction: Literal["maximize", "minimize"]
    decimals: int
    meaning: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("top1", "%", "maximize", 2, "share of test images whose first guess is right"),
        Metric("top5", "%", "maximize", 2, "share of test images with the right class among the first five guesses"),
        Metric("loss", "nats", "minimize", 4, "mean cross-entropy on the test images"),
    )
}
