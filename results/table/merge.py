"""Merging of the tables of several runs into one, with a group and a baseline per run.

There is no comparison across runs: differences, p-values, families of tests and print (bold, underlined) are those of
each run's own table. The caption must hold for every group, so the runs must agree on the metric and the analysis;
where they differ in data, epochs or seeds, the title of the group states them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from results.plan.comparison import TableFormat
from results.store.run import Run
from results.table.build import ablation_table
from results.table.table import AblationTable, DroppedVariant, Study
from search_space.parsing.errors import Problem, SpecError

__all__ = ["merged_table", "table_of_runs"]

_T = TypeVar("_T")


def table_of_runs(runs: Sequence[Run]) -> AblationTable:
    """Table of one run, or of several in their order.

    Raises:
        SpecError: the runs cannot be merged into one table.
    """
    assert runs, "a table of no run"
    _check_measures(runs)
    tables = [ablation_table(run.plan, run.records) for run in runs]
    return tables[0] if len(tables) == 1 else merged_table(tables, [run.path for run in runs])


def merged_table(tables: Sequence[AblationTable], paths: Sequence[Path]) -> AblationTable:
    """Merge tables of several runs, one below the other.

    Args:
        paths: run directories of the tables; they name the groups where the sweeps' names are not unique.

    Raises:
        SpecError: a directory occurs twice, or the tables differ in metric or analysis.
    """
    _check(tables, paths)
    names = _names(tables, paths)
    title = _common_prefix([table.sweep for table in tables])
    seeds, data, epochs = (_distinct(getattr(table, key) for table in tables) for key in ("seeds", "dataset", "epochs"))
    steps = _distinct(table.steps for table in tables)
    designs, profiles, orders = (
        _distinct(getattr(table, key) for table in tables) for key in ("design", "profile", "ordered_by")
    )
    retuned = _distinct(table.retuned for table in tables)
    formats = _distinct(table.format for table in tables)
    objectives = _distinct(table.objectives for table in tables)
    test_sizes = _distinct(table.num_test_images for table in tables)
    found = {"seeds": seeds, "data": data, "epochs": epochs, "steps": steps, "order": orders, "retuned": retuned}
    varies = {name for name, values in found.items() if values[1:]}
    studies = tuple(
        Study(name, table.design, _particulars(table, varies), table.orders, table.path)
        for name, table in zip(names, tables, strict=True)
    )
    first = tables[0]
    started = [table for table in tables if not table.imported]
    return replace(
        first,
        sweep=title or " + ".join(_distinct(table.sweep for table in tables)),
        profile=profiles[0] if len(profiles) == 1 else "",
        design=designs[0] if len(designs) == 1 else "",
        other_metrics=_distinct(name for table in tables for name in table.other_metrics),
        components=_distinct(name for table in tables for name in table.components),
        seeds=seeds[0] if len(seeds) == 1 else (),
        dataset=data[0] if len(data) == 1 else "",
        epochs=epochs[0] if len(epochs) == 1 else None,
        steps=steps[0] if len(steps) == 1 else None,
        rows=tuple(replace(row, study=name) for name, table in zip(names, tables, strict=True) for row in table.rows),
        dropped=tuple(
            DroppedVariant(f"{name}: {one.name}", one.reason, one.components)
            for name, table in zip(names, tables, strict=True)
            for one in table.dropped
        ),
        ordered_by=orders[0] if len(orders) == 1 else "",
        num_foreign=sum(table.num_foreign for table in tables),
        num_superseded=sum(table.num_superseded for table in tables),
        without_metric=sum(table.without_metric for table in tables),
        unmatched=_distinct(row for table in tables for row in table.unmatched),
        studies=studies,
        orders=(),
        path=None,
        retuned=retuned[0] if len(retuned) == 1 else None,
        changed_later=tuple(
            f"{name}: {text}" for name, table in zip(names, tables, strict=True) for text in table.changed_later
        ),
        preregistered={
            name: each for name, table in zip(names, tables, strict=True) for each in table.preregistered.values()
        },
        objectives=objectives[0] if len(objectives) == 1 else (),
        is_foreign=any(table.is_foreign for table in started or tables),
        imported={name: each for name, table in zip(names, tables, strict=True) for each in table.imported.values()},
        data=_distinct(each for table in tables for each in table.data),
        num_test_images=test_sizes[0] if len(test_sizes) == 1 else None,
        # A label or caption of one run is not that of all, but equal ones were meant for the table of them.
        format=formats[0] if len(formats) == 1 else TableFormat(),
    )


def _check_measures(runs: Sequence[Run]) -> None:
    """A metric of users' own is what the plan of its run says: one of the same name may be another."""
    first, problems = runs[0], []
    for run in runs[1:]:
        ours, theirs = (one.plan.measures.get(one.plan.metric) for one in (run, first))
        if ours is None or theirs is None or run.plan.metric != first.plan.metric:
            continue
        for key in ("direction", "unit"):
            here, there = getattr(ours, key), getattr(theirs, key)
            if here != there:
                message = f"the {key} of its metric {run.plan.metric} is {here!r}, that of {first.path} is {there!r}"
                problems.append(Problem(message, where=str(run.path), hint="make a table of each"))
    if problems:
        raise SpecError(problems)


def _check(tables: Sequence[AblationTable], paths: Sequence[Path]) -> None:
    problems = []
    seen: dict[Path, Path] = {}
    for path in paths:
        if path.resolve() in seen:
            problems.append(Problem("the same run twice", where=str(path), hint="name every run once"))
        seen[path.resolve()] = path
    first = tables[0]
    for table, path in list(zip(tables, paths, strict=True))[1:]:
        if table.blocks is not None or first.blocks is not None:
            message = "one of them has blocks, whose means and tests are not those of a design without or with others"
            problems.append(Problem(message, where=str(path), hint="make a table of each"))
        if table.rounds != first.rounds:
            message = "its seeds are trained in other rounds, or in none, so its tests are others"
            problems.append(Problem(message, where=str(path), hint="make a table of each"))
        if table.seed_sources != first.seed_sources:
            message = "a seed decides something else in it, so its standard deviations are of other things"
            hint = "make a table of each; archsweep variance shows them side by side"
            problems.append(Problem(message, where=str(path), hint=hint))
        if table.metric != first.metric:
            message = f"its metric is {table.metric.name}, that of {paths[0]} is {first.metric.name}"
            problems.append(Problem(message, where=str(path), hint="one table has one metric; make a table of each"))
        for key, ours in table.analysis.model_dump().items():
            theirs = getattr(first.analysis, key, None)
            if ours != theirs:
                message = f"analysis.{key} is {ours!r}, that of {paths[0]} is {theirs!r}"
                hint = "one caption must hold for all rows; make a table of each"
                problems.append(Problem(message, where=str(path), hint=hint))
    if problems:
        raise SpecError(problems)


def _names(tables: Sequence[AblationTable], paths: Sequence[Path]) -> list[str]:
    """Shortest unique names of the groups: studies of one sweep, sweeps, or directories."""
    sweeps = [table.sweep for table in tables]
    prefix = _common_prefix(sweeps)
    if prefix:
        return [sweep.removeprefix(prefix + "-") for sweep in sweeps]
    with_profile = [table.sweep + (f" ({table.profile})" if table.profile else "") for table in tables]
    for names in (sweeps, with_profile, [path.name for path in paths]):
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _common_prefix(sweeps: Sequence[str]) -> str:
    """Common prefix of the sweeps' names: `vit` for `vit-depth` and `vit-heads`, else empty."""
    first = sweeps[0]
    ends = [index for index, letter in enumerate(first) if letter == "-"]
    for end in reversed(ends):
        prefix = first[:end]
        rests = [sweep.removeprefix(prefix + "-") for sweep in sweeps]
        if all(sweep.startswith(prefix + "-") and rest for sweep, rest in zip(sweeps, rests, strict=True)):
            return prefix if len(set(rests)) == len(rests) else ""
    return ""


def _particulars(table: AblationTable, varies: Collection[str]) -> str:
    parts = [table.dataset] if "data" in varies and table.dataset else []
    parts += [f"{table.epochs} epochs"] if "epochs" in varies and table.epochs else []
    parts += [f"{table.steps} updates"] if "steps" in varies and table.steps else []
    parts += [f"seed{'s'[: len(table.seeds) - 1]} {', '.join(map(str, table.seeds))}"] if "seeds" in varies else []
    parts += [f"a search, the best {table.ordered_by} first"] if "order" in varies and table.ordered_by else []
    if "retuned" in varies and table.retuned:
        parts.append(f"every arm at its own optimum of {', '.join(table.retuned.parameters)}")
    return ", ".join(parts)


def _distinct(values: Iterable[_T]) -> tuple[_T, ...]:
    """Distinct values in order of first appearance; they need not be hashable."""
    found: list[_T] = []
    for value in values:
        if value not in found:
            found.append(value)
    return tuple(found)
