"""`archsweep plan`: what would run, what it takes, what it can find, what is dropped and why. Trains nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runners.cli.arguments import (
    CacheFolder,
    Overrides,
    Profile,
    Study,
    SweepArgument,
    knowing_runs,
    reject_conflicting_flags,
    run_dir_of,
    study_run_dirs,
)
from runners.cli.check import load_all_checked
from search_space import (
    Problem,
    SpecError,
    SweepFile,
    describe_parameter,
    needs_cost,
    space_size,
    trial_id,
    unmet_requirements,
    variants,
)
from search_space.parsing.visible import visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runners.planning.budget import Budget
    from runners.planning.forecast import Forecast
    from runners.planning.history import History
    from runners.planning.plan import Plan
    from runners.planning.profiling import Probe

__all__ = ["plan"]

_PIPE_WIDTH = 140


def plan(
    sweep: SweepArgument,
    profile: Profile = None,
    set_: Overrides = None,
    study: Study = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/plan.md).")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of variants to print.")] = 200,
) -> None:
    """Show variants, cost, time and statistical power.

    Parameters, GMACs and memory of every variant, what the sweep takes, and the differences its seeds can detect.
    """
    reject_conflicting_flags(cache, no_cache)
    files = load_all_checked(sweep, profile, set_, study)
    if (probe or budget or as_json or cache) and not cost:
        raise typer.BadParameter("--probe, --budget, --cache and --json need the cost", param_hint="--no-cost")
    if trim and budget is None:
        raise typer.BadParameter("needs --budget", param_hint="--trim")
    documents = []
    planned: set[str] = set()  # by the studies before, which run first
    siblings = study_run_dirs(sweep, files, profile, set_ or ())
    files = [knowing_runs(file, siblings) for file in files]
    for file in files:
        if not as_json and file.sweep.search:
            _print_search(file)
        if not cost:
            if not file.sweep.search:
                _print_without_cost(file, limit)
            continue
        document = _plan_one(
            file,
            profile or "",
            run_dir=out or run_dir_of(file, profile),
            siblings=list(siblings.values()),
            planned=planned,
            cache=cache,
            uses_cache=not no_cache,
            wants_probe=probe,
            budget=budget,
            trim=trim,
            concurrent=concurrent,
            limit=None if as_json else limit,
        )
        documents.append(document)
    if as_json:
        from runners.cli.plan.as_json import PLAN_JSON_VERSION

        print(json.dumps({"version": PLAN_JSON_VERSION, "plans": documents}, indent=1))


def _plan_one(
    file: SweepFile,
    profile: str,
    *,
    run_dir: Path,
    siblings: Sequence[Path],
    planned: set[str],
    cache: Path | None,
    uses_cache: bool,
    wants_probe: bool,
    budget: str | None,
    trim: bool,
    concurrent: int | None,
    limit: int | None,
) -> dict[str, Any]:
    from results import read_ledger
    from results.store.run_layout import RunDir
    from runners.cache.origin import Origins
    from runners.cache.reuse import CACHE, STUDIES, for_sweep, from_siblings, reuse_sources
    from runners.cache.trial_cache import TrialCache, device_of, leaves_only_records
    from runners.cli.plan.as_json import plan_as_json
    from runners.cli.plan.as_text import plan_rows, plan_sentences, plan_warnings
    from runners.machine.user_cache import default_directory
    from runners.planning.budget import parse_budget  # imports torch, as the others here
    from runners.planning.history import read_history
    from runners.planning.plan import make_plan

    parsed = parse_budget(budget) if budget else None
    made = make_plan(file, profile=profile, say=lambda text: typer.echo(f"archsweep: {visible(text)}", err=True))
    history = read_history(run_dir)
    whole = made
    if file.sweep.retune:
        from runners.driver.retune import plan_so_far

        made = plan_so_far(made, read_ledger(RunDir(run_dir).ledger).records)
    memory = (cache or default_directory()) if uses_cache and leaves_only_records(made.sweep) else None
    memory = memory.resolve() if memory else None
    provided: dict[str, str] = {}
    is_settled = not file.sweep.retune or made is not whole  # before that the variants are not known
    if is_settled:
        origins = Origins(made.sweep.resources)
        in_siblings = for_sweep(from_siblings(siblings, RunDir(run_dir), origins), made.sweep)
        earlier = frozenset[str]() if made.sweep.keep_samples else frozenset(planned)  # a record holds no samples
        lookups = {STUDIES: lambda spec: trial_id(spec) in earlier or in_siblings(spec)}
        in_cache = for_sweep(TrialCache(memory, device_of(made), origins).get, made.sweep) if memory else None
        lookups |= {CACHE: in_cache} if in_cache else {}
        provided = reuse_sources(made, {record.trial_id for record in history.records}, lookups)
    probes = _probe(made, is_quiet=limit is None) if wants_probe else {}
    forecast = _forecast(made, history, probes, concurrent, parsed, provided, trim=trim)
    if is_settled:
        planned |= {trial_id(each.setting.with_seed(seed)) for each in made.variants for seed in forecast.seeds}
    warnings = plan_warnings(forecast)
    cache_dir = None if memory is None else str(memory)
    if limit is not None:
        if not file.sweep.search:
            _print_rows(file.sweep.name, plan_rows(forecast), limit)
        for line in plan_sentences(forecast, run_dir=str(run_dir), cache_dir=cache_dir):
            print(visible_lines(line))
        for warning in warnings:
            print(f"warning: {visible(warning)}")
        if len(forecast.seeds) < len(file.sweep.seeds):
            seeds = json.dumps(list(forecast.seeds))
            print(f"trimmed to {len(forecast.seeds)} seeds to fit {parsed}; run it with  --set 'seeds={seeds}'")
    return plan_as_json(forecast, run_dir=str(run_dir), cache_dir=cache_dir, warnings=warnings)


def _forecast(
    made: Plan,
    history: History,
    probes: dict[str, Probe],
    concurrent: int | None,
    budget: Budget | None,
    provided: dict[str, str],
    *,
    trim: bool,
) -> Forecast:
    from runners.planning.budget import fit_budget
    from runners.planning.forecast import make_forecast

    by_memory = any(kind.gpu_memory is not None for kind in made.kinds_of_resources)
    gpu_gib = _smallest_local_gpu() if by_memory else None

    def forecast_of(seeds: Sequence[int]) -> Forecast:
        return make_forecast(
            made,
            history,
            probes=probes,
            seeds=seeds,
            concurrency=concurrent,
            provided=provided,
            gpu_gib=gpu_gib,
        )

    seeds = made.sweep.seeds
    return fit_budget(budget, forecast_of, seeds, trim=trim) if budget else forecast_of(seeds)


def _smallest_local_gpu() -> float | None:
    """GiB of the smallest GPU here by `nvidia-smi`; None without one, or where one is split."""
    from runners.machine.gpus import visible_gpus

    sizes = [gpu.total_mib for gpu in visible_gpus()]
    known = [size for size in sizes if size is not None]
    return min(known) / 2**10 if known and len(known) == len(sizes) else None


def _probe(made: Plan, *, is_quiet: bool) -> dict[str, Probe]:
    """A few steps of every variant that costs time of its own; of a search, of its baseline."""
    import torch

    from runners.planning.auto_gpus import hide_unused_gpus
    from runners.planning.history import duration_key
    from runners.planning.profiling import probe_trial
    from runners.training.device import DeviceMissing

    usual = made.sweep.resources.under()
    settings = [(each.setting, made.resources_of(each)) for each in made.variants] or [(made.sweep.baseline, usual)]
    distinct = {duration_key(setting.model_dump(mode="json")): (setting, used) for setting, used in settings}
    torch.set_num_threads(max(1, int(made.sweep.resources.cpus)))
    hide_unused_gpus([made.file])
    found = {}
    for number, (key, (setting, used)) in enumerate(distinct.items(), start=1):
        try:
            found[key] = probe_trial(setting, used)
        except DeviceMissing as err:
            hint = "probe where the trials will run, or --set resources.gpus=0 to time them on this CPU"
            raise SpecError(Problem(str(err), where="--probe", hint=hint)) from err
        if not is_quiet:
            typer.echo(f"probed {number} of {len(distinct)}: {found[key].seconds:.1f} s per trial", err=True)
    return found


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
