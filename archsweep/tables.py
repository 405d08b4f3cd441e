"""The ablation table for Python: the table of `results`, with what notebooks and scripts ask of it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import results
from results.exporters import csv, html
from results.table.table_options import TableOptions, option_problems, with_options
from search_space import SpecError

if TYPE_CHECKING:
    import pandas

__all__ = ["AblationTable", "frame", "table_with_options"]


class AblationTable(results.AblationTable):
    """Ablation table of one run, or of several: `rows` with full precision, and its formats.

    What the formats show is what `archsweep table` prints. In a notebook it shows itself.
    """

    def to_pandas(self) -> pandas.DataFrame:
        """One row per variant, with the columns of `table.csv` (results/exporters/csv.py lists them).

        Numbers are numbers: a missing one is NaN, or NA in a column of whole numbers. `changes` holds mappings,
        `pruned_epochs` lists.
        """
        return frame(csv.values(self))

    def to_csv(self) -> str:
        return self._as("csv")

    def to_markdown(self) -> str:
        return self._as("md")

    def to_latex(self) -> str:
        return self._as("tex")

    def to_html(self) -> str:
        """A whole page, sortable, without any request to a network."""
        return self._as("html")

    def to_text(self) -> str:
        """As a pipe gets it, whatever the width."""
        return self._as("text")

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return str(html.fragment(self))

    def _as(self, format_: str) -> str:
        stream = io.StringIO(newline="")
        results.EXPORTERS[format_](self, stream)
        return stream.getvalue()


def table_with_options(table: results.AblationTable, options: TableOptions) -> AblationTable:
    """The table with options in place of those of the sweep.

    Raises:
        SpecError: an option names no column, or an order that the table does not have.
    """
    if problems := list(option_problems(table, options)):
        raise SpecError(problems)
    return AblationTable(**vars(with_options(table, options)))


def frame(columns: Mapping[str, Sequence[Any]]) -> pandas.DataFrame:
    """The columns as a data frame; whole numbers and truth values stay what they are where some are missing.

    A column without any value is NaN.
    """
    import pandas

    def typed(values: Sequence[Any]) -> pandas.Series:
        kinds = {type(value) for value in values if value is not None}
        if kinds == {bool}:
            return pandas.Series(values, dtype="boolean" if None in values else "bool")
        if kinds == {int}:
            return pandas.Series(values, dtype="Int64" if None in values else "int64")
        if kinds and kinds <= {int, float}:
            return pandas.Series(values, dtype="float64")
        if not kinds:
            return pandas.Series(float("nan"), index=range(len(values)))
        return pandas.Series(values, dtype="object" if kinds - {str} else None)

    return pandas.DataFrame({name: typed(values) for name, values in columns.items()})
