"""The plan of a sweep with what it takes and what it can find: what `archsweep plan` and `archsweep.plan` compute.

Trains nothing; a probe times a few steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from results import read_ledger
from results.store.run_layout import RunDir
from runners.cache.origin import Origins
from runners.cache.reuse import CACHE, STUDIES, for_sweep, from_siblings, reuse_sources
from runners.cache.trial_cache import TrialCache, device_of, leaves_only_records
from runners.driver.retune import plan_so_far
from runners.forms.decision import with_forms
from runners.machine.gpus import visible_gpus
from runners.machine.user_cache import default_directory
from runners.planning.auto_gpus import hide_unused_gpus
from runners.planning.budget import Budget, fit_budget, parse_budget
from runners.planning.forecast import Forecast, make_forecast
from runners.planning.history import History, duration_key, read_history
from runners.planning.make_plan import make_plan
from runners.planning.plan import Plan
from runners.planning.profiling import Probe, probe_trial
from runners.session.forecast_options import ForecastOptions
from runners.training.device import DeviceMissing
from search_space import Problem, SpecError, SweepFile, trial_id

__all__ = ["PlannedRun", "forecast_of"]


@dataclass(frozen=True)
class PlannedRun:
    """A plan as it was made, its forecast, its run directory, and the trial cache that was asked."""

    plan: Plan
    forecast: Forecast
    run_dir: Path
    cache_dir: Path | None


def forecast_of(
    file: SweepFile,
    options: ForecastOptions,
    *,
    siblings: Mapping[str, Path],
    planned: set[str],
    say: Callable[[str], None],
    say_probe: Callable[[str], None] = lambda text: None,
) -> PlannedRun:
    """Plan and forecast of a sweep.

    Args:
        siblings: run directories of all studies of the file.
        planned: trial ids of the studies before, which run first; those of this sweep are added.
        say: called before much data is read.
        say_probe: called after every probe.

    Raises:
        SpecError: as `make_plan`; or the plan is above the budget.
    """
    budget = parse_budget(options.budget) if options.budget else None
    whole = made = make_plan(file, say=say)
    run_dir = options.run_dir(file)
    history = read_history(run_dir)
    if file.sweep.retune:
        made = plan_so_far(made, read_ledger(RunDir(run_dir).ledger).records)
    uses_cache = options.uses_cache and leaves_only_records(made.sweep)
    memory = (options.cache or default_directory()) if uses_cache else None
    memory = memory.resolve() if memory else None
    provided: dict[str, str] = {}
    is_settled = not file.sweep.retune or made is not whole  # before that the variants are not known
    made = with_forms(made, RunDir(run_dir))
    if is_settled:
        origins = Origins(made.sweep.resources)
        origins.numerics_of = lambda setting: made.form_of(setting).numerics
        in_siblings = for_sweep(from_siblings(list(siblings.values()), RunDir(run_dir), origins), made.sweep)
        earlier = frozenset[str]() if made.sweep.keep_samples else frozenset(planned)  # a record holds no samples
        lookups = {STUDIES: lambda spec: trial_id(spec) in earlier or in_siblings(spec)}
        in_cache = for_sweep(TrialCache(memory, device_of(made), origins).get, made.sweep) if memory else None
        lookups |= {CACHE: in_cache} if in_cache else {}
        provided = reuse_sources(made, {record.trial_id for record in history.records}, lookups)
    probes = _probes(made, say_probe) if options.probe else {}
    forecast = _forecast(made, history, probes, options.concurrent, budget, provided, trim=options.trim)
    if is_settled:
        planned |= {trial_id(each.setting.with_seed(seed)) for each in made.variants for seed in forecast.seeds}
    return PlannedRun(whole, forecast, run_dir, memory)


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
    by_memory = any(kind.gpu_memory is not None for kind in made.kinds_of_resources)
    gpu_gib = _smallest_local_gpu() if by_memory else None

    def of_seeds(seeds: Sequence[int]) -> Forecast:
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
    return fit_budget(budget, of_seeds, seeds, trim=trim) if budget else of_seeds(seeds)


def _smallest_local_gpu() -> float | None:
    """GiB of the smallest GPU here by `nvidia-smi`; None without one, or where one is split."""
    sizes = [gpu.total_mib for gpu in visible_gpus()]
    known = [size for size in sizes if size is not None]
    return min(known) / 2**10 if known and len(known) == len(sizes) else None


def _probes(made: Plan, say: Callable[[str], None]) -> dict[str, Probe]:
    """A few steps of every variant that costs time of its own; of a search, of its baseline."""
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
        say(f"probed {number} of {len(distinct)}: {found[key].seconds:.1f} s per trial")
    return found
