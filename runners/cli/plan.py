"""`archsweep plan`: what would run, what it costs, what is dropped and why. Trains nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runners.cli.arguments import Overrides, Profile, SweepArgument
from runners.cli.check import load_checked
from search_space import needs_cost, unmet_requirements, variants

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["plan"]


def plan(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    cost: Annotated[
        bool, typer.Option("--cost/--no-cost", help="Measure parameters and GMACs (imports torch).")
    ] = True,
    limit: Annotated[int, typer.Option(min=1, help="Print at most this many variants.")] = 200,
) -> None:
    """Print the variants, their parameters and GMACs, the number of trials, and what is dropped for which reason."""
    file = load_checked(sweep, profile, set_)
    if file.sweep.search:
        search = file.sweep.search
        print(
            f"{file.sweep.name}: a {search.sampler} search, {search.num_trials} trials with seed {file.sweep.seeds[0]}"
        )
        print("The variants are chosen while it runs, so this plan is incomplete. It varies:")
        for path, parameter in file.sweep.space.items():
            print(f"  {path}: {parameter}")
        if not cost:
            return
    if not cost:
        _print_without_cost(file, limit)
        return
    from runners.plan import make_plan  # imports torch

    made = make_plan(file, profile=profile or "")
    if file.sweep.search:
        return
    rows = [("variant", "params (M)", "GMACs", "trials", "")]
    for entry in made.entries:
        measured = made.cost_of(entry.variant) if not entry.reasons else {}
        rows.append(
            (
                entry.variant.name,
                f"{measured['params_m']:.3f}" if measured else "",
                f"{measured['gmacs']:.4f}" if measured else "",
                "0" if entry.reasons else str(len(file.sweep.seeds)),
                f"dropped: {'; '.join(entry.reasons)}" if entry.reasons else "",
            )
        )
    _print_rows(file.sweep.name, rows, limit)
    print(_total(len(made.variants), len(made.dropped), len(file.sweep.seeds)))


def _print_without_cost(file: object, limit: int) -> None:
    from itertools import islice

    sweep = file.sweep  # type: ignore[attr-defined]
    rows, kept, dropped = [("variant", "trials", "")], 0, 0
    for variant in islice(variants(sweep), limit):
        reasons = unmet_requirements(sweep, variant.setting, None)
        kept, dropped = kept + (not reasons), dropped + bool(reasons)
        rows.append((variant.name, "0" if reasons else str(len(sweep.seeds)), "; ".join(reasons)))
    _print_rows(sweep.name, rows, limit)
    print(_total(kept, dropped, len(sweep.seeds)))
    if needs_cost(sweep):
        print("`require` speaks of params_m or gmacs: without --no-cost more variants may be dropped")


def _total(kept: int, dropped: int, seeds: int) -> str:
    text = f"{kept} variants x {seeds} seeds = {kept * seeds} trials"
    return text + (f"; {dropped} variants dropped" if dropped else "")


def _print_rows(title: str, rows: Sequence[tuple[str, ...]], limit: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    for index, name in enumerate(rows[0]):
        is_text = index in (0, len(rows[0]) - 1)
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in rows[1 : limit + 1]:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
    if len(rows) - 1 > limit:
        print(f"... and {len(rows) - 1 - limit} more (--limit)")
