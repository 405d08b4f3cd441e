"""Footnotes of an ablation table: missing seeds, failures with reasons, sources of published numbers.

The meaning of the numbers (means, intervals, tests) is in `caption.py`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from results.layout.blocks import block_notes
from results.layout.sentences.path import path_notes
from results.layout.sentences.published import published_notes
from results.layout.sentences.rounds import stopped_notes
from results.layout.sentences.shapley import placebo_notes, shapley_notes
from results.layout.sentences.tuning import tuning_notes
from results.stats.paired import has_no_spread
from results.stats.verdicts import TESTED
from results.store.records import CONTINUED_NOTE, IMPORTED_NOTE, TrialRecord
from results.store.run_layout import IN_RUN_DIR
from results.table.table import AblationTable, Row
from search_space.parsing.errors import SpecError
from search_space.schema.metrics import direction_of, metric_named
from search_space.settings.table_columns import of_metric
from search_space.variants.blocks import name_in_block

__all__ = ["DAGGER", "DOUBLE_DAGGER", "footnotes", "seeds_marks"]

DAGGER = "\u2020"
DOUBLE_DAGGER = "\u2021"
_MOST_GROUPS = 8
_ONE_COMPONENT_AT_A_TIME = ("leave_one_out", "add_one_in")


def footnotes(table: AblationTable, shown: Collection[str] | None = None, *, order: str = "") -> tuple[str, ...]:
    """Notes below the table, in the order of the columns and marks that they explain.

    Args:
        shown: names of the columns of the table; None: all that it has something for. What only a hidden column would
            say of a row (missing seeds, an unequal budget) is a note.
        order: what the order of the rows is, where a user chose it.
    """
    return (
        *_order(table, order),
        *(() if shown is None or "seeds" in shown else _seeds_of_rows(table)),
        *_pruned(table),
        *stopped_notes(table),
        *_unfit(table),
        *block_notes(table),
        *(() if shown is None or {"delta", "verdict"} & {*shown} else _unequal(table)),
        *_spreadless(table),
        *_identical(table),
        *_aliases(table),
        *_interactions(table),
        *shapley_notes(table),
        *path_notes(table),
        *placebo_notes(table),
        *tuning_notes(table),
        *_noted(table),
        *_failures(table),
        *_not_measured(table, shown),
        *_missing(table),
        *_taken_over(table),
        *published_notes(table, is_shown=shown is None or "published" in shown),
        *_dropped(table),
        *_mixed(table),
        *_mixed_devices(table),
        *_superseded(table),
        *_foreign(table),
    )


def seeds_marks(row: Row) -> str:
    """Marks behind the number of completed seeds: pruned with their epochs, failed, infeasible."""
    marks = ""
    if row.num_pruned:
        marks += f" {DAGGER}" + ",".join(map(str, sorted(set(row.pruned_epochs))))
    if row.num_failed:
        marks += " failed"
    if row.num_infeasible:
        marks += " infeasible"
    return marks


def _seeds_of_rows(table: AblationTable) -> Iterable[str]:
    """What the column of the seeds says of rows that lack some."""
    names = [
        f"{_name(row, table)} {row.num_completed}/{row.num_planned}{seeds_marks(row)}"
        for row in table.rows
        if row.num_completed < row.num_planned
    ]
    if names:
        yield f"Not all planned seeds are completed: {'; '.join(names)}."


def _unequal(table: AblationTable) -> Iterable[str]:
    names = [_name(row, table) for row in table.rows if row.verdict == "unequal budget"]
    if names:
        yield f"{DOUBLE_DAGGER} {', '.join(names)}."


def _name(row: Row, table: AblationTable) -> str:
    return f"{row.study}: {row.name}" if table.studies else row.name


def _order(table: AblationTable, order: str) -> Iterable[str]:
    if order:
        # Within a Pareto front, too: the front is a column.
        yield f"Rows come from a search and are {order}.{_optimism(table)}" if table.ordered_by else f"Rows: {order}."
    elif table.objectives:
        ends = {"maximize": "higher", "minimize": "lower"}
        sought = [f"{name} ({ends[direction_of(name.removeprefix('val_'))]} is better)" for name in table.objectives]
        yield (
            f"Rows come from a search for the Pareto front of {', '.join(sought)}. No row is better than one of front "
            "1 in one of these and as good in the others; front 2 is the Pareto front of the rows without front 1. "
            f"Within a front the best {table.ordered_by} comes first.{_optimism(table)}"
        )
    elif table.ordered_by:
        yield f"Rows come from a search, the best {table.ordered_by} first.{_optimism(table)}"


def _optimism(table: AblationTable) -> str:
    if table.ordered_by.startswith("val_") or not table.rows:
        return ""
    return " They were selected on the test split, so the best values are too good."


def _pruned(table: AblationTable) -> Iterable[str]:
    if any(row.num_pruned for row in table.rows):
        unbegun = any(0 in row.pruned_epochs for row in table.rows)
        given_up = " 0: not started, because its row was given up after other seeds." if unbegun else ""
        yield f"{DAGGER} pruned at the epoch beside it; outside every mean and difference.{given_up}{_pruned_by(table)}"


def _pruned_by(table: AblationTable) -> str:
    shares = {
        r.spec.get("task", {}).get("val_fraction") for row in table.rows for r in row.records if r.status == "pruned"
    }
    return " The pruner looked at the test split." if 0 in shares else ""


def _unfit(table: AblationTable) -> Iterable[str]:
    if not table.has_tests and not any(row.verdict == "unequal budget" for row in table.rows):
        return
    if any(row.verdict == "incomplete" for row in table.rows):
        yield "incomplete: the row or the baseline lacks planned seeds; neither tested nor ranked."
    if any(row.verdict == "unequal budget" for row in table.rows):
        yield f"{DOUBLE_DAGGER} unequal budget: another number of epochs than the baseline; neither tested nor ranked."


def _spreadless(table: AblationTable) -> Iterable[str]:
    names = [
        _name(row, table)
        for row in table.rows
        if row.verdict in TESTED and row.p_corrected is None and row.delta and has_no_spread(row.delta)
    ]
    if names:
        where = "at every seed" if table.blocks is None else "in every block"
        yield f"The same difference {where}, so that no test applies: {', '.join(names)}."


def _identical(table: AblationTable) -> Iterable[str]:
    """Rows that trained as the baseline did, to the last bit: what they vary has no effect."""
    names = []
    for part in table.parts:
        cells = part.baseline.cells if part.baseline else {}
        base = {(block, record.seed): record for block, cell in cells.items() for record in cell.records}
        for row in part.rows:
            pairs = [
                (record, base.get((block, record.seed)))
                for block, cell in row.cells.items()
                for record in cell.records
                if record.status == "completed"
            ]
            if not row.is_baseline and pairs and all(other and _same_numbers(one, other) for one, other in pairs):
                names.append(_name(row, table))
    if names:
        yield f"Bit-identical to the baseline at every seed, so that nothing was varied: {', '.join(names)}."


def _same_numbers(one: TrialRecord, other: TrialRecord) -> bool:
    # An accuracy alone may agree by chance; a loss, in double precision, does not.
    return "loss" in one.metrics and one.metrics == other.metrics and one.curve == other.curve


def _aliases(table: AblationTable) -> Iterable[str]:
    for part in table.parts:
        if part.design == "fractional":
            # Imported here: aliases need numpy, tables of other designs do not.
            from results.effects.aliasing import alias_statements

            of = f" of {part.rows[0].study}" if table.studies and part.rows else ""
            yield from (f"Aliased by design{of}: {statement}." for statement in alias_statements(part))


def _interactions(table: AblationTable) -> Iterable[str]:
    """Components whose effect alone differs from that beside all others."""
    of = {design: [part for part in table.parts if part.design == design] for design in _ONE_COMPONENT_AT_A_TIME}
    if not all(of.values()):
        return
    from results.effects.contributions import contributions  # here, because it needs scipy and few tables do

    for without in of["leave_one_out"]:
        for added in of["add_one_in"]:
            with contextlib.suppress(SpecError):  # no component that both have has a result yet
                yield from (f"{found.warning}." for found in contributions(without, added) if found.warning)


def _noted(table: AblationTable) -> Iterable[str]:
    """What trials say of themselves, by what they say."""
    groups: dict[str, list[str]] = {}
    for row in table.rows:
        for name, record in _trials(row, table):
            for note in record.notes if record.status == "completed" else ():
                if note.startswith((CONTINUED_NOTE, IMPORTED_NOTE)):  # in the caption
                    continue
                groups.setdefault(_in_one_line(note), []).append(name)
    yield from _grouped("Noted", groups, str(IN_RUN_DIR.ledger))


def _trials(row: Row, table: AblationTable) -> Iterable[tuple[str, TrialRecord]]:
    """The trials of a row with their names: variant, block and seed."""
    for block, cell in row.cells.items():
        for record in cell.records:
            yield f"{name_in_block(_name(row, table), block)} seed {record.seed}", record


def _failures(table: AblationTable) -> Iterable[str]:
    heads = {"failed": "Failed", "infeasible": "Infeasible"}
    for status, head in heads.items():
        groups: dict[str, list[str]] = {}
        for row in table.rows:
            for name, record in _trials(row, table):
                if record.status == status:
                    failure = record.failure
                    reason = f"{failure.type}: {failure.message}" if failure else ""
                    groups.setdefault(_in_one_line(reason), []).append(name)
        yield from _grouped(head, groups, str(IN_RUN_DIR.trials_csv))
    count = table.without_metric
    if count:
        yield f"{count} completed {_plural(count, 'trial')} without a finite {table.metric.name}; outside every mean."


def _not_measured(table: AblationTable, shown: Collection[str] | None) -> Iterable[str]:
    """Chosen metrics that some completed trials lack."""
    names = [parts[1] if (parts := of_metric(name)) is not None else name for name in shown or ()]
    done = [r for row in table.rows for r in row.records if r.status == "completed"]
    for name in dict.fromkeys(names):
        if name == table.metric.name or metric_named(name) is None:
            continue
        lacking = sum(name not in record.metrics for record in done)
        if lacking:
            yield (
                f"{name}: not measured in {lacking} of {len(done)} completed {_plural(len(done), 'trial')}, because it "
                "is undefined there or the version that trained them had no such metric."
            )


def _missing(table: AblationTable) -> Iterable[str]:
    # In the blocks: a row also lacks the trials of a block in which it was dropped, but they are not planned.
    missing = sum(cell.num_missing for row in table.rows for cell in row.cells.values())
    if missing:
        yield f"{missing} planned {_plural(missing, 'trial')} without a result so far."


def _taken_over(table: AblationTable) -> Iterable[str]:
    """Number of trials reused from other runs: their durations and devices are those of another run."""
    counts = Counter(record.cached_from for row in table.rows for record in row.records if record.cached_from)
    for source, count in sorted(counts.items()):
        yield f"{count} {_plural(count, 'trial')} not trained again but taken over from {source}."


def _dropped(table: AblationTable) -> Iterable[str]:
    groups: dict[str, list[str]] = {}
    for variant in table.dropped:
        groups.setdefault(_in_one_line(variant.reason), []).append(variant.name)
    yield from _grouped("Dropped before training", groups, str(IN_RUN_DIR.plan))


def _mixed(table: AblationTable) -> Iterable[str]:
    """Rows of different code or software in one table, which the user asked for (`--changed keep`)."""
    for part in table.parts:
        counts = Counter(
            (record.code.partition(".")[0], record.software)
            for row in part.rows
            for record in row.records
            if record.status == "completed"
        )
        if len(counts) > 1:
            described = [
                f"{count} {_plural(count, 'trial')} by {software or 'software'} and code {code or 'not recorded'}"
                for (code, software), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            ]
            where = f" of {part.rows[0].study}" if table.studies else ""
            yield f"Mixed: {'; '.join(described)}{where}. Their differences may be differences of code or software."


def _mixed_devices(table: AblationTable) -> Iterable[str]:
    """Rows that were not computed on one kind of device, which also decides what `amp: auto` is."""
    for part in table.parts:
        done = [record for row in part.rows for record in row.records if record.status == "completed"]
        counts = Counter((record.device, record.precision) for record in done if record.device)
        if len({(device, bool(precision)) for device, precision in counts}) > 1:
            described = [
                f"{count} {_plural(count, 'trial')} on {device}" + (f" in {precision}" if precision else "")
                for (device, precision), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            ]
            where = f" of {part.rows[0].study}" if table.studies else ""
            yield f"Mixed: {'; '.join(described)}{where}. Their differences may be differences of device or precision."


def _superseded(table: AblationTable) -> Iterable[str]:
    if table.num_superseded:
        count = table.num_superseded
        verb = "does" if count == 1 else "do"
        yield f"{count} {_plural(count, 'record')} of other data, code or software {verb} not count."


def _foreign(table: AblationTable) -> Iterable[str]:
    if table.num_foreign:
        count = table.num_foreign
        yield f"{count} earlier {_plural(count, 'record')} of the ledger not in this plan; not shown."


def _grouped(head: str, groups: Mapping[str, list[str]], where: str) -> Iterable[str]:
    """Lines by reason; a long list is cut, with the number of omitted entries and the file that has them."""
    for reason, names in list(groups.items())[:_MOST_GROUPS]:
        # Names may contain commas, which then cannot also separate names.
        separator = "; " if any("," in name for name in names) else ", "
        listed = separator.join(names[:_MOST_GROUPS])
        more = f" and {len(names) - _MOST_GROUPS} more" if len(names) > _MOST_GROUPS else ""
        yield f"{head}: {listed}{more}: {reason}"
    left = len(groups) - _MOST_GROUPS
    if left > 0:
        yield f"{head}: {left} more {_plural(left, 'reason')}, see {where}."


def _in_one_line(text: str) -> str:
    """The first line, and behind a colon the last one, which says most of what a program wrote."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "no reason recorded"
    return f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else noun + "s"
