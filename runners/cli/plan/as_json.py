"""`archsweep plan --json`: the plan for machines. Keys are stable; docs/plan.md describes each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from runners.cache.reuse import CACHE, STUDIES
from runners.cli.plan.coalitions import planned_coalitions
from runners.cli.plan.path_steps import path_as_json
from runners.planning.detection.sequential import rounds_ahead
from runners.planning.forecast import Detectable, Forecast, VariantForecast
from runners.planning.stored_plan import seed_sources_of
from runners.trials.form import Form
from search_space import METRICS, Setting
from search_space.designs.fractional import alias_structure
from search_space.variants.blocks import blocks_of

__all__ = ["plan_as_json"]


def plan_as_json(forecast: Forecast, *, run_dir: str, cache_dir: str | None, warnings: list[str]) -> dict[str, Any]:
    """One plan (a file with studies has several) as plain values; `cache_dir` is None where no cache is asked."""
    plan, sweep = forecast.plan, forecast.plan.sweep
    ahead = rounds_ahead(sweep, forecast.detectable.num_arms, forecast.detectable.std)
    return {
        "sweep": sweep.name,
        "study": plan.file.study,
        "profile": plan.profile,
        "run_dir": run_dir,
        "cache_dir": cache_dir,
        "design": sweep.design.name,
        "is_adaptive": sweep.search is not None,
        "metric": {"name": sweep.metric, "unit": METRICS[sweep.metric].unit},
        "seeds": list(forecast.seeds),
        "seed_sources": None if (sources := seed_sources_of(sweep)) is None else sources.model_dump(mode="json"),
        "blocks": [block.name for block in blocks_of(sweep)],
        "variants": [_variant(each, plan.form_of) for each in forecast.variants],
        "form": _form(plan.form_of(sweep.baseline)) if sweep.search else None,
        "aliases": _aliases(forecast),
        "shapley": _shapley(forecast),
        "path": path_as_json(forecast.path),
        "data": [each.model_dump(mode="json") for each in plan.data()],
        "trials": {
            "total": forecast.num_trials,
            "left": forecast.num_left,
            "trainings_total": _trainings(forecast),
            "trainings_left": forecast.num_left if plan.sweep.search else forecast.num_trainings_left,
            "from_studies": forecast.provided.get(STUDIES, 0),
            "from_cache": forecast.provided.get(CACHE, 0),
            "retune_total": forecast.num_retune,
            "retune_left": forecast.num_retune_left,
        },
        "cost": {
            "trial_hours": forecast.trial_hours,
            "wall_hours": forecast.hours,
            "cpu_hours": forecast.cpu_hours,
            "gpu_hours": forecast.gpu_hours,
            "gpu_hours_is_bound": forecast.is_gpu_bound,
            "concurrency": forecast.concurrency,
            "peak_mib": forecast.peak_mib,
            "disk_mib": forecast.disk_mib,
        },
        "detectable": _detectable(forecast.detectable),
        "one_more_seed": {"trial_hours": forecast.seed_hours, "detectable": _detectable(forecast.one_more)},
        "rounds": None if ahead is None else dataclasses.asdict(ahead),
        "warnings": warnings,
    }


def _trainings(forecast: Forecast) -> int:
    """Trainings of all trials: a search trains each, and a design those that are measured alike together."""
    if forecast.path is not None:
        return forecast.num_trials
    return forecast.num_trials if forecast.plan.sweep.search else len(forecast.trainings) * len(forecast.seeds)


def _variant(each: VariantForecast, form_of: Callable[[Setting], Form]) -> dict[str, Any]:
    return {
        "name": each.variant.name,
        "variant_id": each.variant.variant_id,
        "block": each.variant.block,
        "is_baseline": each.variant.is_baseline,
        "changes": dict(each.variant.changes),
        "components": dict(each.variant.components),
        "dropped": "; ".join(each.reasons),
        "notes": list(each.notes),
        "num_trials": each.num_planned,
        "num_left": each.num_left,
        "num_provided": each.num_provided,
        "num_measured": each.num_measured,
        "params_m": each.params_m,
        "gmacs": each.gmacs,
        "activation_mib": each.activation_mib,
        "training_mib": each.training_mib,
        "seconds_per_trial": each.seconds,
        "seconds_source": each.source,
        "measuring_seconds": each.measuring_seconds,
        **_form(form_of(each.variant.setting)),
    }


def _form(form: Form) -> dict[str, Any]:
    return {"numerics": form.numerics, "numerics_reason": form.why, "numerics_gain": form.gain}


def _aliases(forecast: Forecast) -> dict[str, Any] | None:
    if forecast.plan.sweep.design.name != "fractional":
        return None
    found = alias_structure([each.variant.components for each in forecast.kept])
    return {
        "resolution": found.resolution,
        "is_orthogonal": found.is_orthogonal,
        "effects": {
            " x ".join(effect): {" x ".join(alias.effect): alias.weight for alias in aliases}
            for effect, aliases in found.aliases.items()
            if aliases
        },
    }


def _shapley(forecast: Forecast) -> dict[str, Any] | None:
    found = planned_coalitions(forecast.plan.sweep, (each.variant for each in forecast.kept))
    if found is None:
        return None
    return {"is_exact": not found.num_orders, **asdict(found), "not_computable": list(found.not_computable)}


def _detectable(found: Detectable) -> dict[str, Any]:
    return {
        "num_seeds": found.num_seeds,
        "num_arms": found.num_arms,
        "power": 0.8,
        "alpha": found.alpha,
        "correction": found.correction,
        "difference": found.single,
        "difference_corrected": found.worst,
        "difference_holm": found.worst_holm,
        "std_of_differences": found.std,
        "granularity": found.granularity,
        "std_source": "history" if found.spread else "assumed",
    }
