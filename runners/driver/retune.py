"""`retune`: every variant finds its own training parameters before variants are compared.

The tuning trials are trials like any other: same ledger, same orchestrator, same engines, marked `role: retune` so that
no table counts them. Nothing else is stored. What a variant tries next follows from its earlier tuning trials alone, in
the order of their numbers: the Optuna study of a variant is rebuilt from the ledger whenever it is asked, and candidate
n is drawn with a seed derived from (retune.seed, n). So a killed run continues exactly, and two runs of one sweep try
the same.

Candidates that do not depend on results (all of a random search, the start-up of TPE) are trained together, for all
variants; after these every variant tries one at a time. All variants start with equal candidates, after their own
setting.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from results import LedgerWriter, RecordSummary, TrialRecord, latest_by_trial
from results.store.record_summary import summarize
from runners.planning.plan import Entry, Plan
from runners.trials.assignment import Assignment, TrialRole, infeasible_record
from runners.trials.objectives import objective
from search_space import (
    METRICS,
    Design,
    InvalidVariant,
    Setting,
    SpecError,
    Sweep,
    Variant,
    baseline_params,
    suggest,
    trial_id,
    tuning_sweep,
    value_at,
    variant_id,
)

__all__ = ["ROLE", "Stage", "plan_so_far", "stages"]

ROLE: Literal["retune"] = "retune"


@dataclass(frozen=True)
class Stage:
    """Trials that can be trained together. `role` goes into their records: `retune`, or empty for the comparison."""

    plan: Plan
    role: TrialRole


@dataclass(frozen=True)
class _TunedVariant:
    """Candidates of a variant: candidate -> mean over the tuning seeds, None if a trial of it did not complete.

    `infeasible` are the candidates that cannot be trained, with the reasons; they count in `num_trials`.
    """

    variant: Variant
    values: tuple[tuple[Setting, float | None], ...]
    missing: tuple[Variant, ...]
    infeasible: tuple[tuple[Variant, str], ...] = ()

    @property
    def num_tried(self) -> int:
        """Number of different settings: a sampler may propose one again, which is not trained again."""
        return len({variant_id(setting) for setting, _ in self.values})

    def best(self, direction: str | None) -> Setting | None:
        found = [(value, setting) for setting, value in self.values if value is not None]
        if not found:
            return None
        choose = max if direction == "maximize" else min
        return choose(found, key=lambda pair: pair[0])[1]  # the earliest of equally good ones


def stages(
    plan: Plan, ledger: LedgerWriter, *, retry: frozenset[str] = frozenset(), session: str = ""
) -> Iterator[Stage]:
    """The stages of a run, in order; the last one is the comparison itself, with every variant at its own optimum.

    Each is to be trained before the next is asked for. Where one was not finished (`--limit`), no further one comes.

    Args:
        retry: statuses that run again, unless the trial got its status in this session.
        session: of this start of the driver.

    Raises:
        SpecError: no tuning trial of the reference completed.
    """

    def decided_so_far() -> dict[str, RecordSummary]:
        found = _decided(ledger.summaries)
        return {key: record for key, record in found.items() if record.status not in retry or record.session == session}

    while plan.sweep.retune:
        decided = decided_so_far()
        tuned_variants = _variants(plan, decided)
        missing = [candidate for tuned in tuned_variants for candidate in tuned.missing]
        _record_infeasible(plan, ledger, tuned_variants, decided, session=session)
        if not missing:
            plan = _tuned(plan, decided)
            break
        stage = _stage_plan(plan, missing)
        yield Stage(stage, ROLE)
        decided = decided_so_far()
        if any(key not in decided for variant in stage.variants for key in _keys(stage.sweep, variant.setting)):
            return
    yield Stage(plan, "")


def plan_so_far(plan: Plan, records: Iterable[TrialRecord | RecordSummary]) -> Plan:
    """The plan with tuned variants once all are tuned, else the plan as it is."""
    if not plan.sweep.retune:
        return plan
    decided = _decided(map(summarize, records))
    return plan if any(tuned.missing for tuned in _variants(plan, decided)) else _tuned(plan, decided)


def _decided(summaries: Iterable[RecordSummary]) -> dict[str, RecordSummary]:
    return latest_by_trial(summary for summary in summaries if summary.role == ROLE)


def _variants(plan: Plan, decided: Mapping[str, RecordSummary]) -> list[_TunedVariant]:
    return [_replay(plan, variant, decided) for variant in plan.variants]


def _replay(plan: Plan, variant: Variant, decided: Mapping[str, RecordSummary]) -> _TunedVariant:
    # Half a second: sweeps without `retune` do not pay for it.
    from optuna import create_study
    from optuna.samplers import RandomSampler
    from optuna.trial import TrialState

    from runners.search.optuna_factory import derived_seed, make_sampler, no_traceback_of, num_independent

    sweep = plan.sweep
    tuning = tuning_sweep(sweep, variant.setting)
    search = tuning.search
    assert search is not None
    # A study in memory per variant: a few trials each, rebuilt in milliseconds.
    study = create_study(direction=METRICS[sweep.metric].direction, sampler=RandomSampler(seed=0))
    if (own := baseline_params(tuning)) is not None:
        study.enqueue_trial(own)
    values: list[tuple[Setting, float | None]] = []
    missing: dict[str, Variant] = {}
    infeasible: dict[str, tuple[Variant, str]] = {}
    sampling = partial(no_traceback_of, "sampler", search.sampler, search.options, path="retune")
    num_known = num_independent(search.sampler, search.options)
    for number in range(search.num_trials):
        study.sampler = make_sampler(search.sampler, search.options, seed=derived_seed(search.seed, number))
        if missing and number >= num_known:
            break
        with sampling():
            trial = study.ask()
        try:
            with sampling():
                candidate = suggest(tuning, trial)
            reason = "; ".join(broken.message for broken in plan.training_relations(candidate.setting))
        except InvalidVariant as err:
            candidate, reason = err.variant, err.reason
        if candidate is None or reason:
            if candidate is not None:
                infeasible.setdefault(candidate.variant_id, (_named(variant, candidate), reason))
            study.tell(trial, state=TrialState.FAIL)
            continue
        records = [decided.get(key) for key in _keys(tuning, candidate.setting)]
        if any(record is None for record in records):
            missing.setdefault(candidate.variant_id, _named(variant, candidate))
            continue
        value = _mean(sweep, [record for record in records if record])
        values.append((candidate.setting, value))
        if value is None:
            study.tell(trial, state=TrialState.FAIL)
        else:
            with sampling():
                study.tell(trial, value)
    return _TunedVariant(variant, tuple(values), tuple(missing.values()), tuple(infeasible.values()))


def _record_infeasible(
    plan: Plan,
    ledger: LedgerWriter,
    tuned_variants: Sequence[_TunedVariant],
    decided: Mapping[str, RecordSummary],
    *,
    session: str,
) -> None:
    """Write a record with the reason for each candidate that cannot be trained, once."""
    retune = plan.sweep.retune
    assert retune is not None
    for candidate, reason in (pair for tuned in tuned_variants for pair in tuned.infeasible):
        spec = candidate.setting.with_seed(retune.seeds[0])
        if trial_id(spec) not in decided:
            assignment = Assignment(trial_id(spec), spec, candidate, session=session, role=ROLE)
            ledger.append(infeasible_record(assignment, reason, {}))


def _mean(sweep: Sweep, records: Sequence[RecordSummary]) -> float | None:
    """Mean over the seeds; a candidate that fails with one seed is no candidate."""
    if any(record.status != "completed" for record in records):
        return None
    values = [objective(record.metrics, sweep.metric) for record in records]
    return statistics.fmean(value for value in values if value is not None)


def _keys(sweep: Sweep, setting: Setting) -> list[str]:
    return [trial_id(setting.with_seed(seed)) for seed in sweep.seeds]


def _named(variant: Variant, candidate: Variant) -> Variant:
    shown = ", ".join(f"{path.rpartition('.')[2]}={_short(value)}" for path, value in candidate.changes.items())
    changes = {**variant.changes, **candidate.changes}
    return Variant(
        f"{variant.name} [{shown or 'as written'}]",
        changes,
        candidate.setting,
        dict(variant.components),
        placebo_of=variant.placebo_of,
    )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _stage_plan(plan: Plan, candidates: Sequence[Variant]) -> Plan:
    """Plan of these candidates alone with the tuning seeds, without pruning."""
    retune = plan.sweep.retune
    assert retune is not None
    update = {"seeds": retune.seeds, "design": Design(name="list"), "prune": None, "retune": None, "match": None}
    sweep = plan.sweep.model_copy(update=update)
    entries = [Entry(candidate) for candidate in candidates]
    return replace(plan, file=replace(plan.file, sweep=sweep), entries=entries)


def _tuned(plan: Plan, decided: Mapping[str, RecordSummary]) -> Plan:
    """The plan with every variant at its best setting."""
    retune = plan.sweep.retune
    assert retune is not None
    direction = METRICS[plan.sweep.metric].direction
    arms = {tuned.variant.variant_id: tuned for tuned in _variants(plan, decided)}
    best = {key: tuned.best(direction) for key, tuned in arms.items()}
    reference = best[plan.variants[0].variant_id]
    if reference is None:
        message = f"no tuning trial of the reference {plan.variants[0].name!r} completed"
        hint = "`archsweep status` says why they failed; other variants cannot be compared with it"
        raise SpecError(plan.file.problem(("retune",), message, hint))
    entries = []
    for entry in plan.entries:
        setting = best.get(entry.variant.variant_id)
        num_tried = arms[entry.variant.variant_id].num_tried if entry.variant.variant_id in arms else None
        if entry.reasons:
            entries.append(entry)
        elif setting is None:
            entries.append(Entry(entry.variant, ("no tuning trial of it completed",), num_tried))
        else:
            tuned = {
                path: value_at(setting, path)
                for path in retune.parameters
                if value_at(setting, path) != value_at(reference, path)
            }
            variant = replace(entry.variant, setting=setting, changes={**entry.variant.changes, **tuned})
            entries.append(Entry(variant, num_tried=num_tried, untuned_id=entry.variant.variant_id))
    return replace(plan, entries=entries)
