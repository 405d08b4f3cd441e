"""Who trained the rows of a table, and which value of a training is shown: archsweep, the user's own code, or another
program whose runs were imported.

Imported rows are marked wherever the table names them, because nothing that archsweep checks of a trial (data, code,
role of the seed) was checked of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

from results.layout.sentences.seed_sources import seed_source_sentences
from results.plan.datasets import Imported
from results.table.table import AblationTable, Row

__all__ = ["name_of_row", "selection_text", "source_of_row", "trained_by"]

_MARK = " (imported)"
_AS_REPORTED = "as the source reports it"
_UNTRAINED = "of weights as they are, without training"
_SELECTIONS = {
    "last": "after the last epoch",
    "best-val": "at the epoch that was best on the validation split, measured on the test split",
    "ema": "of the moving average of the weights after the last epoch",
}


def trained_by(table: AblationTable) -> Iterable[str]:
    """Sentences of the caption: the source of imported rows, and what a seed decides in the others."""
    for name, imported in table.imported.items():
        yield f"{name}: {_imported(imported)}" if table.studies else _imported(imported)
    if table.is_all_imported:
        return
    if table.is_foreign:
        yield "Trained and measured by the user's own code, which is given the seed and decides what depends on it."
    elif table.is_untrained:
        return  # a seed decides nothing but which weights there are, and these are named
    elif table.seed_sources is not None:
        yield from seed_source_sentences(table.seed_sources)
    elif len(table.seeds) != 1:
        decided = "A seed decides initialisation, order of the data, augmentation and dropout"
        yield f"{decided}; the data splits do not depend on it."


def selection_text(table: AblationTable) -> str:
    """Which weights, or which of the reported values, the metric is of."""
    if table.is_all_imported:
        return _AS_REPORTED
    if table.is_untrained:
        return _UNTRAINED
    return _SELECTIONS[table.analysis.selection] + (f" (imported rows: {_AS_REPORTED})" if table.imported else "")


def name_of_row(table: AblationTable, row: Row) -> str:
    """Name of the row for readers, with the mark of an imported one."""
    return row.name + (_MARK if table.imported_as(row) else "")


def source_of_row(table: AblationTable, row: Row) -> str | None:
    """Kind of the source of an imported row (`csv`, `wandb`, ...); None for a row that archsweep started."""
    found = table.imported_as(row)
    return found.kind if found else None


def _imported(imported: Imported) -> str:
    text = (
        f"Imported from {imported.source} ({imported.kind}, {imported.date}): not trained by archsweep; data, code and "
        "seeds are as the source says."
    )
    if imported.value == "best":
        text += " Values are the best of each run's history, chosen by what they report, so they are too good."
    return text + (f" Baseline: {imported.baseline}." if imported.baseline else "")
