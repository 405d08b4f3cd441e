"""The majority-class line of a table: what always predicting one class reaches, and the rows that are not above it.

The plan has the numbers. A row is above the line if the interval of its mean over the seeds is, at the level of the
table's intervals; of a single seed, that of an accuracy over the test images, and without these its value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from results.layout.caption import accuracy_error
from results.stats.numbers import level_percent
from results.stats.paired import Summary
from results.stats.t_distributions import t_critical
from results.table.table import AblationTable
from search_space.schema.metrics import METRICS

__all__ = ["SECTION", "is_not_above", "majority_line", "majority_notes"]

SECTION = "\u00a7"


def is_not_above(table: AblationTable, summary: Summary | None, metric: str) -> bool:
    """Whether a row's metric is not above the line; False where the table has no line, or one for each dataset, and
    of a mean over blocks or crossed levels, which has no interval over seeds or images."""
    if table.blocks is not None or (table.seed_sources is not None and table.seed_sources.crossed):
        return False
    line = majority_line(table, metric)
    return line is not None and summary is not None and _low(table, summary, metric) <= line


def majority_line(table: AblationTable, metric: str) -> float | None:
    """What always predicting the class reaches; None where it is not known, or there are several datasets or splits."""
    if table.blocks is not None and table.blocks.is_resampled:
        return None  # equal shares of classes make one summary of several splits
    known = table.data[0].majority_class if len(table.data) == 1 else None
    return None if known is None else known.metrics.get(metric)


def majority_notes(table: AblationTable, shown: Sequence[str]) -> Iterable[str]:
    """The line of every dataset for the metrics among these columns, and the meaning of the mark.

    Args:
        shown: names of the columns of the table.
    """
    if table.blocks is not None and table.blocks.is_resampled:
        yield from _over_folds(table, shown)
        return
    for each in table.data:
        if each.majority_class is None:
            continue
        reached = each.majority_class.metrics
        texts = [f"{name} {reached[name]:.{METRICS[name].decimals}f} %" for name in shown if name in reached]
        if texts:
            of = f" of {each.dataset}" if len(table.data) > 1 else ""
            yield (
                f"Majority class{of}: always predicting {each.majority_class.name}, the most frequent class of the "
                f"training {each.labelled}, gives {', '.join(texts)}."
            )
    if any(is_not_above(table, row.metrics.get(name), name) for name in shown for row in table.rows):
        level = level_percent(table.analysis.alpha)
        over = "over seeds" if len(table.seeds) != 1 else "over test images"
        yield f"{SECTION} not above the majority class: the {level} % interval {over} of this number reaches it."


def _over_folds(table: AblationTable, shown: Sequence[str]) -> Iterable[str]:
    """What always predicting the class reaches, from the lowest to the highest of the folds."""
    known = [each.majority_class for each in table.data if each.majority_class is not None]
    texts: list[str] = []
    for name in shown:
        if reached := sorted(each.metrics[name] for each in known if name in each.metrics):
            ends = dict.fromkeys(f"{value:.{METRICS[name].decimals}f}" for value in (reached[0], reached[-1]))
            texts.append(f"{name} {' to '.join(ends)} %")
    if texts:
        yield (
            "Majority class: always predicting the most frequent class of the training split of each block gives "
            f"{', '.join(texts)}."
        )


def _low(table: AblationTable, summary: Summary, metric: str) -> float:
    alpha = table.analysis.alpha
    if summary.std is not None:
        return summary.mean - t_critical(alpha, summary.num - 1) * summary.std / math.sqrt(summary.num)
    error = accuracy_error(summary.mean, table) if metric == table.metric.name else None
    if error is None or not table.num_test_images or table.num_test_images < 2:
        return summary.mean
    return summary.mean - t_critical(alpha, table.num_test_images - 1) * error
