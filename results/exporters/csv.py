"""The table as CSV: one line per variant, full precision, the same column names in every version.

    variant, variant_id, is_baseline, status, changes (JSON: path -> value), component.<name> ... (true/false),
    seeds_planned, seeds_completed, seeds_pruned, seeds_failed, seeds_infeasible, seeds_missing, pruned_epochs (JSON),
    <metric>_mean, <metric>_std, <metric>_delta, <metric>_delta_low, <metric>_delta_high, delta_pairs,
    <metric>_delta_std, p, p_corrected, correction, verdict, exploratory, p_sign_flip, bootstrap_low, bootstrap_high,
    p_equivalence, p_equivalence_corrected, alpha, interval, test_images, <metric>_test_error,
    <metric>_delta_test_error (with kept predictions only), published_<metric> ..., published_source,
    <metric>_minus_published ... (ours minus the published value, of metrics and costs that have one),
    params_m, trainable_params_m (where records have it), gmacs, train_seconds, <each of them>_change, study, selection,
    front (with several objectives only), imported (with imported runs only: the kind of their source),
    <other metric>_mean, <other metric>_std ...; with looks only looks (JSON: numbers of seeds) and stopped
    (`decided`, `futile` or `held`: why the row gets no further seeds); with `retune` only settings_tried, tuned (`own`:
    the row's own setting was the best of them, `changed`), tuning_gap, tuning_gap_low, tuning_gap_high,
    tuning_gap_pairs; with blocks only blocks (JSON: path -> names),
    test, <metric>_mean@<block>, <metric>_std@<block>, <metric>_delta@<block>, <metric>_delta_low@<block>,
    <metric>_delta_high@<block>, <metric>_delta_pairs@<block> ...

With blocks the other columns are over all of them: `seeds_` count trials, `delta_pairs` blocks, and neither sign flips
nor a bootstrap apply. `test` names the test: the corrected resampled t over folds or random splits of one dataset, of
which `_delta_low` and `_delta_high` are the interval, or Wilcoxon's over datasets.
`exploratory`: the verdict rests on a decision that was made after results were seen, which the caption names.
`AblationTable.csv_columns` restricts it to what belongs to some columns of the other formats: `top1` is
`top1_mean` and `top1_std`; `delta:macro_f1` adds `macro_f1_delta`, its bounds and `macro_f1_delta_pairs`;
`loss@<block>` adds `loss_mean@<block>` and `loss_std@<block>`; a path in which the blocks differ has a list of their
values (JSON).
Their digits, names and captions never change it; only the order of its rows is theirs.
An empty cell is a missing number. `_delta_low` and `_delta_high` bound the interval of level 1 - `alpha` over training
seeds on the fixed test set: `interval` says whether each by itself or all at once. `p` is that of the paired t-test,
`correction` names how `p_corrected` follows from it (`bh`: a q-value). `p_equivalence` is that of two one-sided t-tests
against the margin. `p_sign_flip` (from 6 seeds; from 17 on of 20,000 random patterns) and the percentile bootstrap
(from 10) need no normal distribution and are listed beside; no verdict depends on them. `_test_error` is the standard
error that a test set of `test_images` gives an accuracy, `_delta_test_error` the one that it gives the difference,
paired over its images, for these trained models. `_majority` is what always predicting the most frequent class of the
training split gives, where there is one dataset. `_change` is relative to the baseline: 0.1 is 10 % more.
With looks, or `analysis.sequential`, p-values and intervals are those that hold at all looks, and there are neither
sign flips nor a bootstrap, which hold for one look only.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

from results.layout.caption import accuracy_error
from results.layout.columns import of_every_class
from results.layout.majority import majority_line
from results.layout.row_order import in_order
from results.layout.setting_values import values_in_blocks
from results.layout.trained_by import source_of_row
from results.markup.csv_cells import csv_line, csv_value
from results.plan.comparison import Rounds
from results.plan.run_plan import BlockedDesign
from results.stats.hypothesis_tests import bootstrap_interval, sign_flip_p_value
from results.stats.verdicts import TESTED
from results.table.table import AblationTable, Row
from search_space.settings.paths import is_path
from search_space.settings.table_columns import COSTS, in_block, of_metric

__all__ = ["columns", "values", "write"]

_MINUS_PUBLISHED = "_minus_published"


def write(table: AblationTable, stream: TextIO) -> None:
    """Write the table as CSV with LF line ends."""
    found = columns(table)
    stream.write(csv_line(found))
    for values in zip(*found.values(), strict=True):
        stream.write(csv_line(values))


def columns(table: AblationTable) -> dict[str, list[Any]]:
    """The columns of the CSV by name, as values: a number per row, None where there is none."""
    table = in_order(table)
    found = _chosen(table, _columns(table)) if table.csv_columns else _columns(table)
    return {name: [cell(row) for row in table.rows] for name, cell in found.items()}


def values(table: AblationTable) -> dict[str, list[Any]]:
    """The same columns with published numbers as numbers, where every variant has one at most."""
    found = columns(table)
    shown = {name for name in found if _is_published(name)} - {"published_source"}
    return {name: _published_numbers(each) if name in shown else each for name, each in found.items()}


def _is_published(column: str) -> bool:
    return column.startswith("published_") or column.endswith(_MINUS_PUBLISHED)


def _published_numbers(texts: list[str]) -> list[Any]:
    try:
        return [float(text) if text else None for text in texts]
    except ValueError:  # several of one variant
        return texts


def _chosen(table: AblationTable, every: Mapping[str, Callable[[Row], Any]]) -> dict[str, Callable[[Row], Any]]:
    """The columns that belong to the chosen ones, in their order."""
    names: list[str] = []
    further: dict[str, Callable[[Row], Any]] = {}
    every = {**every, **_other_deltas(table), **_other_means_of_blocks(table)}
    for chosen in of_every_class(table, table.csv_columns):
        if is_path(chosen):
            further[chosen] = functools.partial(values_in_blocks, table, path=chosen)
            names.append(chosen)
        else:
            names += [name for name in _belonging(chosen, table, every) if name in every]
    found = {**every, **further}
    return {name: found[name] for name in dict.fromkeys(names)}


def _belonging(chosen: str, table: AblationTable, every: Iterable[str]) -> Iterable[str]:
    metric = table.metric.name
    seeds = ("planned", "completed", "pruned", "failed", "infeasible", "missing")
    if within := table.within_block(chosen):
        inner, block = within
        if inner == "delta":
            return tuple(
                in_block(metric + end, block) for end in ("_delta", "_delta_low", "_delta_high", "_delta_pairs")
            )
        return tuple(in_block(inner + end, block) for end in ("_mean", "_std"))
    column, metric = of_metric(chosen) or (chosen, metric)
    bounds = (f"{metric}_delta_low", f"{metric}_delta_high", "alpha", "interval")
    match column:
        case "seeds":
            return (*(f"seeds_{name}" for name in seeds), "pruned_epochs")
        case "delta":
            pairs = "delta_pairs" if metric == table.metric.name else f"{metric}_delta_pairs"
            return (f"{metric}_delta", *bounds, pairs)
        case "interval":
            return bounds
        case "delta_std" | "delta_test_error":
            return (f"{metric}_{column}",)
        case "p_corrected":
            return ("p_corrected", "correction")
        case "verdict":
            return ("verdict", "exploratory")
        case "published":
            return tuple(name for name in every if _is_published(name))
        case _ if chosen in COSTS:
            return (chosen, f"{chosen}_change")
        case _:
            return (chosen, f"component.{chosen}", f"{chosen}_mean", f"{chosen}_std")


def _columns(table: AblationTable) -> dict[str, Callable[[Row], Any]]:
    metric = table.metric.name
    line = majority_line(table, metric)
    is_looked_at = table.is_sequential
    is_known = any(row.trainable_params_m is not None for row in table.rows)
    costs = [name for name in COSTS if is_known or name != "trainable_params_m"]
    with_values = sorted({name for row in table.rows for there in row.published for name in there.values})
    published = dict.fromkeys([metric, *with_values])
    return {
        "variant": lambda row: row.name,
        "variant_id": lambda row: row.variant_id,
        "is_baseline": lambda row: row.is_baseline,
        "status": lambda row: row.status,
        "changes": lambda row: dict(row.changes),
        **{f"component.{name}": _component(name) for name in table.components},
        "seeds_planned": lambda row: row.num_planned,
        "seeds_completed": lambda row: row.num_completed,
        "seeds_pruned": lambda row: row.num_pruned,
        "seeds_failed": lambda row: row.num_failed,
        "seeds_infeasible": lambda row: row.num_infeasible,
        "seeds_missing": lambda row: row.num_missing,
        "pruned_epochs": lambda row: list(row.pruned_epochs) or None,
        **_summary(metric),
        f"{metric}_delta": lambda row: row.delta.mean if row.delta else None,
        f"{metric}_delta_low": lambda row: row.delta.low if row.delta else None,
        f"{metric}_delta_high": lambda row: row.delta.high if row.delta else None,
        "delta_pairs": lambda row: row.delta.num_pairs if row.delta else None,
        f"{metric}_delta_std": lambda row: row.delta.std if row.delta else None,
        "p": lambda row: row.p,
        "p_corrected": lambda row: row.p_corrected,
        "correction": lambda row: None if row.p_corrected is None else table.analysis.correction,
        "verdict": lambda row: row.verdict,
        "exploratory": lambda row: row.is_exploratory if row.verdict in TESTED else None,
        "p_sign_flip": lambda row: None if is_looked_at else sign_flip_p_value(_tested_differences(row)),
        "bootstrap_low": lambda row: None if is_looked_at else _bootstrap(row, 0, table.analysis.alpha),
        "bootstrap_high": lambda row: None if is_looked_at else _bootstrap(row, 1, table.analysis.alpha),
        "p_equivalence": lambda row: row.p_equivalence,
        "p_equivalence_corrected": lambda row: row.p_equivalence_corrected,
        "alpha": lambda row: None if row.delta is None else table.analysis.alpha,
        "interval": lambda row: None if row.delta is None or row.delta.low is None else table.analysis.interval,
        "test_images": lambda row: table.num_test_images,
        f"{metric}_test_error": lambda row: _test_error(row, table),
        **({f"{metric}_delta_test_error": lambda row: row.image_error} if _has_predictions(table) else {}),
        **({} if line is None else {f"{metric}_majority": lambda row: line}),
        **{f"published_{name}": _published(name) for name in published},
        "published_source": lambda row: "; ".join(there.source for there in row.published),
        **{f"{name}{_MINUS_PUBLISHED}": _minus_published(name) for name in published if name in with_values},
        **{cost: operator.attrgetter(cost) for cost in costs},
        **{f"{cost}_change": _change(cost) for cost in costs},
        "study": lambda row: row.study,
        "selection": lambda row: table.analysis.selection,
        **({"front": lambda row: row.front} if table.objectives else {}),
        **({"imported": functools.partial(source_of_row, table)} if table.imported else {}),
        **{name: cell for other in table.other_metrics for name, cell in _summary(other).items()},
        **({} if table.rounds is None else _of_rounds(table.rounds)),
        **({} if table.retuned is None else _of_tuning()),
        **({} if table.blocks is None else _of_design(table.blocks)),
        **{
            name: cell
            for block in (table.blocks.names if table.blocks else ())
            for name, cell in _of_block(metric, block).items()
        },
    }


def _of_rounds(rounds: Rounds) -> dict[str, Callable[[Row], Any]]:
    return {"looks": lambda row: rounds.looks, "stopped": lambda row: row.stopped or None}


def _of_tuning() -> dict[str, Callable[[Row], Any]]:
    gap = {"": "mean", "_low": "low", "_high": "high", "_pairs": "num_pairs"}
    return {
        "settings_tried": lambda row: row.num_tried,
        "tuned": lambda row: None if row.tuned is None else "own" if row.tuned.is_own else "changed",
        **{f"tuning_gap{end}": functools.partial(_tuning_gap, name=name) for end, name in gap.items()},
    }


def _tuning_gap(row: Row, name: str) -> float | None:
    return getattr(row.tuned.gap, name) if row.tuned and row.tuned.gap else None


def _of_design(blocks: BlockedDesign) -> dict[str, Callable[[Row], Any]]:
    test = "corrected_resampled_t" if blocks.is_resampled else "wilcoxon"
    return {
        "blocks": lambda row: {blocks.path: blocks.names},
        "test": lambda row: None if row.p is None else test,
    }


def _of_block(metric: str, block: str) -> dict[str, Callable[[Row], Any]]:
    """Columns of one block: the metric, and its difference to the baseline in the block."""

    def of_delta(field: str) -> Callable[[Row], Any]:
        return lambda row: getattr(row.blocks[block].delta, field, None) if block in row.blocks else None

    deltas = {"": "mean", "_low": "low", "_high": "high", "_pairs": "num_pairs"}
    return {
        **_means_of_block(metric, block),
        **{in_block(f"{metric}_delta{suffix}", block): of_delta(field) for suffix, field in deltas.items()},
    }


def _means_of_block(metric: str, block: str) -> dict[str, Callable[[Row], Any]]:
    def of(field: str) -> Callable[[Row], Any]:
        return lambda row: getattr(row.blocks[block].metrics.get(metric), field, None) if block in row.blocks else None

    return {in_block(f"{metric}_{field}", block): of(field) for field in ("mean", "std")}


def _other_means_of_blocks(table: AblationTable) -> dict[str, Callable[[Row], Any]]:
    """Columns of further metrics in each block, which are only in a CSV that asks for them."""
    blocks = table.blocks.names if table.blocks else ()
    found = [_means_of_block(metric, block) for metric in table.other_metrics for block in blocks]
    return {name: cell for each in found for name, cell in each.items()}


def _other_deltas(table: AblationTable) -> dict[str, Callable[[Row], Any]]:
    """Columns of the differences of further metrics, which are only in a CSV that asks for them."""
    names = dict.fromkeys(name for row in table.rows for name in row.other_deltas)
    fields = {"": "mean", "_low": "low", "_high": "high", "_std": "std", "_pairs": "num_pairs"}

    def of(name: str, field: str) -> Callable[[Row], Any]:
        return lambda row: getattr(row.other_deltas.get(name), field, None)

    return {f"{name}_delta{suffix}": of(name, field) for name in names for suffix, field in fields.items()}


def _component(name: str) -> Callable[[Row], Any]:
    return lambda row: row.components.get(name)


def _tested_differences(row: Row) -> tuple[float, ...]:
    """The values of arms that may be compared; empty for the others."""
    if row.num_blocks:
        return ()  # folds are no independent pairs, and blocks of different kind have no common scale
    return row.delta.differences if row.delta is not None and row.verdict in TESTED else ()


def _test_error(row: Row, table: AblationTable) -> float | None:
    mean = row.metrics.get(table.metric.name)
    return None if mean is None else accuracy_error(mean.mean, table)


def _has_predictions(table: AblationTable) -> bool:
    return any(row.image_error is not None for row in table.rows)


def _bootstrap(row: Row, end: int, alpha: float) -> float | None:
    interval = bootstrap_interval(_tested_differences(row), alpha)
    return interval[end] if interval else None


def _change(cost: str) -> Callable[[Row], Any]:
    return lambda row: row.cost_changes.get(cost)


def _published(metric: str) -> Callable[[Row], Any]:
    return lambda row: "; ".join(csv_value(there.values.get(metric)) for there in row.published)


def _minus_published(name: str) -> Callable[[Row], Any]:
    return lambda row: "; ".join(csv_value(row.minus_published(there, name)) for there in row.published)


def _summary(metric: str) -> dict[str, Callable[[Row], Any]]:
    def mean(row: Row) -> float | None:
        return row.metrics[metric].mean if metric in row.metrics else None

    def std(row: Row) -> float | None:
        return row.metrics[metric].std if metric in row.metrics else None

    return {f"{metric}_mean": mean, f"{metric}_std": std}
