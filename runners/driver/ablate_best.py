"""Leave-one-out sweep around the best trial of a search: which of its values does its result depend on?

Written as a sweep file of its own, so that the question can be read, edited and run again without the search: its
baseline is the search's, and every value in which the best trial differs is a component - off as in the baseline, on as
found. The seeds are fresh ones: the seed that chose a setting cannot vouch for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from pydantic import ValidationError

from results import Run, TrialRecord
from results.store.run_layout import IN_RUN_DIR, RunDir
from results.table.measured import selection_metric
from search_space import METRICS, MISSING, Problem, Setting, SpecError, load_sweep_text, value_at, variant_id, variants
from search_space.schema.identity import canonical_json
from search_space.schema.training.seeding import Seeding
from search_space.settings.naming import difference

__all__ = ["ablate_best"]

_NUM_SEEDS = 5
_WIDTH = 116


def ablate_best(run_dir: Path, name: str) -> str:
    """The text of a sweep named `name` around the best trial of the search in `run_dir`.

    Raises:
        SpecError: there is no such run, it is no search, or nothing better than its baseline was found.
    """
    run = Run.open(run_dir)
    if run.plan.design != "search":
        hint = "a fixed design has its rows already; write `leave_one_out` with its components"
        raise SpecError(Problem(f"is no search, but a {run.plan.design!r}", where=str(run_dir), hint=hint))
    written, sweep = _last_start(run_dir)
    best, mean = _best(run)
    try:
        setting = Setting.model_validate({key: best.spec[key] for key in ("arch", "task", "train")})
        baseline = Setting.model_validate(written)
        resources = _stated(sweep.get("resources", {}))
    except (KeyError, ValidationError) as err:
        raise SpecError(_not_of_this_search(run_dir)) from err
    seeding = setting.train.seeding  # which the written baseline has under `seeds`
    setting = setting.model_copy(update={"train": setting.train.model_copy(update={"seeding": Seeding()})})
    components = _components(baseline, setting)
    if not components:
        message = f"the best trial of {len(run.deciding)} is the baseline of the search itself"
        raise SpecError(
            Problem(message, where=str(run_dir), hint="there is nothing to leave out; search longer or wider")
        )
    metric = selection_metric(run.plan.metric, run.deciding.values())
    seeds = list(range(max(run.plan.seeds) + 1, max(run.plan.seeds) + 1 + _NUM_SEEDS))
    text = _text(
        name,
        run_dir,
        best,
        f"{metric} {mean:.4g}",
        {
            "name": name,
            "baseline": json.loads(canonical_json(baseline)),
            "space": components,
            "design": "leave_one_out",
            "seeds": seeds if seeding == Seeding() else {"values": seeds, "vary": list(seeding.vary)},
            "metric": run.plan.metric,
            "require": list(sweep.get("require") or ()),
            "resources": resources,
        },
    )
    full = next(variants(load_sweep_text(text, name).sweep))
    if variant_id(full.setting) != best.variant_id:
        raise SpecError(_not_of_this_search(run_dir))
    return text


def _not_of_this_search(run_dir: Path) -> Problem:
    message = "the best trial and the latest start are not of one sweep, or were edited"
    return Problem(
        message, where=str(run_dir), hint=f"see {IN_RUN_DIR.provenance}; `archsweep run` with the sweep adds a line"
    )


def _last_start(run_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The baseline and the sweep of the latest start, profile and overrides included."""
    path = RunDir.of(run_dir).provenance
    try:
        sweep = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["sweep"]
        return dict(sweep["baseline"]), dict(sweep)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as err:
        message = "does not say what the baseline of the search was"
        raise SpecError(Problem(message, where=str(path), hint="run the search again; it adds a line there")) from err


def _best(run: Run) -> tuple[TrialRecord, float]:
    """A trial of the variant with the best mean over its seeds, and that mean."""
    metric = selection_metric(run.plan.metric, run.deciding.values())
    sign = 1 if METRICS[run.plan.metric].direction == "maximize" else -1
    variants: dict[str, list[TrialRecord]] = {}
    for record in sorted(run.deciding.values(), key=lambda record: record.seed):
        if record.status == "completed" and metric in record.metrics:
            variants.setdefault(record.variant_id, []).append(record)
    whole = [records for records in variants.values() if len(records) == len(set(run.plan.seeds))]
    if not whole:
        raise SpecError(Problem("no suggestion of the search is completed", where=str(run.path)))
    means = [(fmean(record.metrics[metric] for record in records), records[0]) for records in whole]
    mean, best = max(means, key=lambda one: (sign * one[0], -(one[1].number or 0), one[1].trial_id))
    return best, mean


def _components(baseline: Setting, best: Setting) -> dict[str, Any]:
    """Path -> {off, on}, one for each value that differs; a changed mechanism is one component with its options."""
    found: dict[str, Any] = {}
    for root in ("arch", "task", "train"):
        changed = difference(baseline, best, root)
        nodes = [path for path in changed if any(other.startswith(path + ".") for other in changed)]
        nodes += [path for path in ("arch.attention", "task.dataset") if path in changed]
        for path in changed:
            if not any(path.startswith(node + ".") for node in nodes):
                found[path] = {"off": _plain(value_at(baseline, path)), "on": _plain(value_at(best, path))}
    return found


def _plain(value: Any) -> Any:
    if value is MISSING:
        return None
    if hasattr(value, "model_dump"):
        return {"name": value.name, **value.model_dump(mode="json", exclude_defaults=True)}
    return list(value) if isinstance(value, tuple) else value


def _stated(resources: dict[str, Any]) -> dict[str, Any]:
    from search_space import Resources

    return Resources.model_validate(resources).model_dump(exclude_defaults=True)


def _text(name: str, run_dir: Path, best: TrialRecord, reached: str, content: dict[str, Any]) -> str:
    num = len(content["space"])
    seeds = _NUM_SEEDS
    head = [
        f"# Question:  which of the {num} values that the search in {run_dir} changed matter to its best trial?",
        "# Expected:  (what do you think will come out, and why?)",
        f"# Cost:      {num + 1} variants x {seeds} seeds = {(num + 1) * seeds} trials.",
        f"# Run:       archsweep run {name}.yaml",
        f"# Around:    trial {best.trial_id} (number {best.number}, seed {best.seed}, {reached})",
        "#            The seeds are none of the search's: the seed that chose a setting cannot vouch for it.",
    ]
    parts = [
        # leaves on one line, everything else line by line
        yaml.safe_dump(
            {key: value},
            sort_keys=False,
            default_flow_style=None if isinstance(value, dict | list) else False,
            width=_WIDTH,
        )
        for key, value in content.items()
        if value or key == "baseline"
    ]
    return "\n".join(head) + "\n" + "".join(parts)
