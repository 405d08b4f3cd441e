"""`archsweep plan`: what would run, what it takes, what it can find, what is dropped and why. Trains nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runners.cli.arguments import (
    AsJson,
    CacheFolder,
    Overrides,
    Profile,
    Study,
    SweepArgument,
    reject_conflicting_flags,
)
from runners.cli.resource_options import DataDir, DeviceOption, Download, GpusPerTrial, resource_overrides
from runners.session.forecast_options import ForecastOptions
from runners.session.sweeps import knowing_runs, load_all_checked, study_run_dirs
from search_space import (
    SweepFile,
    describe_parameter,
    needs_cost,
    space_size,
    unmet_requirements,
    variants,
)
from search_space.parsing.visible import visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["plan"]

_PIPE_WIDTH = 140


def plan(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
    gpus_per_trial: GpusPerTrial = None,
    device: DeviceOption = None,
    data_dir: DataDir = None,
    download: Download = False,
    cost: Annotated[bool, typer.Option("--cost/--no-cost", help="Measure parameters, GMACs and memory.")] = True,
    probe: Annotated[bool, typer.Option("--probe", help="Time a few training steps of every variant here.")] = False,
    budget: Annotated[str | None, typer.Option(help="Refuse a plan above this budget: 40gpuh, 30cpuh or 2h.")] = None,
    trim: Annotated[bool, typer.Option("--trim", help="With --budget: plan fewer seeds instead (at least 3).")] = False,
    concurrent: Annotated[
        int | None, typer.Option(min=1, help="Concurrent trials. Default: as many as fit on this machine.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory with earlier durations. Default: as for run.")] = None,
    cache: CacheFolder = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Ignore the trial cache.")] = False,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of variants to print.")] = 200,
) -> None:
    """Show variants, cost, time and statistical power.

    Parameters, GMACs and memory of every variant, what the sweep takes, and the differences its seeds can detect.
    """
    reject_conflicting_flags(cache, no_cache)
    resources = resource_overrides(gpus_per_trial=gpus_per_trial, device=device, data_dir=data_dir, download=download)
    files = load_all_checked(sweep, profile, [*(set_ or ()), *resources], study)
    if (probe or budget or as_json or cache) and not cost:
        raise typer.BadParameter("--probe, --budget, --cache and --json need the cost", param_hint="--no-cost")
    if trim and budget is None:
        raise typer.BadParameter("needs --budget", param_hint="--trim")
    documents = []
    planned: set[str] = set()  # by the studies before, which run first
    siblings = study_run_dirs(files[0])
    options = ForecastOptions(
        out=out, cache=cache, uses_cache=not no_cache, probe=probe, budget=budget, trim=trim, concurrent=concurrent
    )
    files = [knowing_runs(file, siblings) for file in files]
    for file in files:
        if not as_json and file.sweep.search:
            _print_search(file)
        if not cost:
            if not file.sweep.search:
                _print_without_cost(file, limit)
            continue
        limit_shown = None if as_json else limit
        document = _plan_one(file, options, siblings=siblings, planned=planned, limit=limit_shown)
        documents.append(document)
    if as_json:
        from runners.cli.documents.document import write_document
        from runners.cli.documents.of_sweeps import PlanDocument, PlanEntry

        plans = [PlanEntry.model_validate(each) for each in documents]
        write_document(PlanDocument(plans=plans), sys.stdout)


def _plan_one(
    file: SweepFile, options: ForecastOptions, *, siblings: Mapping[str, Path], planned: set[str], limit: int | None
) -> dict[str, Any]:
    from runners.cli.plan.as_json import plan_as_json
    from runners.cli.plan.as_text import plan_rows, plan_sentences, plan_warnings
    from runners.planning.budget import parse_budget  # imports torch, as the next one
    from runners.session.forecast import forecast_of

    made = forecast_of(file, options, siblings=siblings, planned=planned, say=_say, say_probe=_say_probe(limit))
    forecast, run_dir = made.forecast, str(made.run_dir)
    warnings = plan_warnings(forecast)
    cache_dir = None if made.cache_dir is None else str(made.cache_dir)
    if limit is not None:
        if not file.sweep.search:
            _print_rows(file.sweep.name, plan_rows(forecast), limit)
        for line in plan_sentences(forecast, run_dir=run_dir, cache_dir=cache_dir):
            print(visible_lines(line))
        for warning in warnings:
            print(f"warning: {visible(warning)}")
        if len(forecast.seeds) < len(file.sweep.seeds):
            place = "seeds" if file.sweep.seed_plan is None else "seeds.values"
            seeds = json.dumps(list(forecast.seeds))
            fits = f"trimmed to {len(forecast.seeds)} seeds to fit {parse_budget(options.budget or '')}"
            print(f"{fits}; run it with  --set '{place}={seeds}'")
    return plan_as_json(forecast, run_dir=run_dir, cache_dir=cache_dir, warnings=warnings)


def _say(text: str) -> None:
    typer.echo(f"archsweep: {visible(text)}", err=True)


def _say_probe(limit: int | None) -> Callable[[str], None]:
    return (lambda text: None) if limit is None else (lambda text: typer.echo(text, err=True))


def _print_search(file: SweepFile) -> None:
    search = file.sweep.search
    assert search is not None
    seeds = len(file.sweep.seeds)
    size = f"{search.num_trials} suggestions x {seeds} seed{'s' if seeds > 1 else ''} = {file.sweep.num_search_trials}"
    sought = f" for the front of {', '.join(search.objectives)}" if search.objectives else ""
    print(f"{file.sweep.name}: a {search.sampler} search{sought}, {size} trials")
    for run in search.warm_start:
        print(visible(f"It starts from what {run} found."))
    most = space_size(file.sweep)
    if most is not None and most < search.num_trials:
        print(f"The space has only {most} variants: the search is complete with these.")
    print("The variants are chosen while it runs, so this plan is incomplete. It varies:")
    for path, parameter in file.sweep.space.items():
        print(visible(f"  {path}: {describe_parameter(parameter)}"))


def _print_without_cost(file: SweepFile, limit: int) -> None:
    from itertools import islice

    sweep = file.sweep
    rows, kept, dropped = [("variant", "trials", "dropped")], 0, 0
    for variant in islice(variants(sweep), limit):
        reasons = unmet_requirements(sweep, variant.setting, None)
        kept, dropped = kept + (not reasons), dropped + bool(reasons)
        rows.append((variant.name, "0" if reasons else str(len(sweep.seeds)), "; ".join(reasons)))
    _print_rows(sweep.name, rows, limit)
    seeds = len(sweep.seeds)
    print(f"{kept} variants x {seeds} seeds = {kept * seeds} trials" + (f"; {dropped} dropped" if dropped else ""))
    if needs_cost(sweep):
        print("`require` refers to params_m or gmacs: without --no-cost more variants may be dropped")
    if sweep.match:
        print("`match` needs the cost: without --no-cost its values are solved")


def _print_rows(title: str, rows: Sequence[tuple[str, ...]], limit: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold")
    shown = [index for index in range(len(rows[0])) if index == 0 or any(row[index] for row in rows[1:])]
    for index in shown:
        table.add_column(rows[0][index], justify="right" if index else "left", overflow="fold", no_wrap=bool(index))
    for row in rows[1 : limit + 1]:
        table.add_row(*(Text(visible(row[index])) for index in shown))
    console = Console()
    # A pipe has no width, and lines folded for one of 80 columns are of no use to grep.
    (console if console.is_terminal else Console(width=_PIPE_WIDTH)).print(table)
    if len(rows) - 1 > limit:
        print(f"... and {len(rows) - 1 - limit} more (--limit)")
