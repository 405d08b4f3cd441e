"""What a table says about its own format: further metrics, new names, more decimals than the data have, papers.

Differences of further metrics are said to be without a test. A reader must be able to trust a table whose columns a
user chose. So a renamed column keeps its usual name in the caption, and more decimals than a metric has by default are
stated, with what the test images resolve.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from results.layout.caption import DELTA, Sentence
from results.layout.columns import Column, decimals_of, named_column
from results.table.table import AblationTable
from search_space.schema.metrics import METRICS
from search_space.settings.table_columns import COLUMNS, of_metric

__all__ = ["format_sentences"]


def format_sentences(table: AblationTable, columns: Sequence[Column]) -> tuple[Sentence, ...]:
    """Sentences about the format, the last of the caption; none for a table without a choice."""
    names = [column.name for column in columns]
    return (
        *map(Sentence, _other_deltas(table, names)),
        *map(Sentence, _renamed(table, columns)),
        *map(Sentence, _digits(table, names)),
        # A terminal without room for changes of cost has none for these either.
        *(Sentence(text, "changes") for text in _papers(columns)),
    )


def _papers(columns: Sequence[Column]) -> Iterable[str]:
    """What the parts of cells about papers are."""
    with_paper = {column.name for column in columns if any(cell.paper for cell in column.cells)}
    if "published" in with_paper:
        yield "Brackets behind a published value: ours minus it."
    if with_paper - {"published"}:
        yield "paper: the published value of that column."


def _other_deltas(table: AblationTable, shown: Sequence[str]) -> Iterable[str]:
    """What the differences of further metrics are, and that no claim rests on them."""
    others = dict.fromkeys(parts[1] for name in shown if (parts := of_metric(name)) is not None)
    if not any(name in row.other_deltas for name in others for row in table.rows):
        return
    claims = f"; verdicts, p-values and stars are of {table.metric.name} alone" if table.has_tests else ""
    yield (
        f"{DELTA} {', '.join(others)}: as {DELTA}, of that metric; no interval is corrected for the number of "
        f"metrics{claims}."
    )


def _renamed(table: AblationTable, columns: Sequence[Column]) -> Iterable[str]:
    """The caption's own sentences name columns by their usual titles."""
    if not table.format.rename:
        return
    usual = replace(table, format=table.format.model_copy(update={"rename": {}}))
    pairs = [(column.title, named_column(usual, column.name).title) for column in columns if column.name != "variant"]
    changed = [f"{title} is {default}" for title, default in pairs if title != default]
    if changed:
        yield f"Columns: {'; '.join(changed)}."


def _digits(table: AblationTable, shown: Collection[str]) -> Iterable[str]:
    for name in sorted({*shown} - {*COLUMNS}, key=lambda name: (name != table.metric.name, name)):
        metric = METRICS.get(name.removeprefix("val_"))
        if metric is None:
            continue
        asked = decimals_of(table, replace(metric, name=name))
        if asked > metric.decimals:
            yield f"{name} has {_decimals(asked)} as asked for, {metric.decimals} by default{_resolution(table, name)}."
    asked = table.format.digits.get("delta", decimals_of(table, table.metric))
    if {"delta", "interval"} & {*shown} and asked > max(table.metric.decimals, decimals_of(table, table.metric)):
        yield f"Differences have {_decimals(asked)} as asked for{_resolution(table, table.metric.name)}."


def _resolution(table: AblationTable, name: str) -> str:
    """The step of a share of images; for other metrics nothing is known but what the seeds show."""
    metric = METRICS[name.removeprefix("val_")]
    if not metric.is_of_images or not table.num_test_images or name != table.metric.name:
        return ", which is more than it resolves between seeds"
    step = 100 / table.num_test_images
    digits = max(1, 1 - math.floor(math.log10(step)))
    return f"; one of the {table.num_test_images} test images is {step:.{digits}f} %"


def _decimals(number: int) -> str:
    return "1 decimal" if number == 1 else f"{number} decimals"
