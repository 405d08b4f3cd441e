"""Operands of `archsweep diff`, by name or id: a variant of a run with all its seeds, or one trial.

Names need not be unique in a run directory: an edited sweep leaves the trials of the old baseline beside those of the
new one. Variants with different ids are different variants and are never merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from results.store.record_summary import latest_by_trial
from results.store.records import TrialRecord
from results.store.run import Run
from search_space.parsing.errors import Problem, SpecError, did_you_mean

__all__ = ["DiffOperand", "resolve_operand"]

_SHORTEST_PREFIX = 3
_MOST_NAMES = 20


@dataclass(frozen=True)
class DiffOperand:
    """Operand of a comparison: a variant or a trial.

    Attributes:
        key: id of the variant or trial.
        namesakes: ids of other variants of the run that have the same name.
    """

    name: str
    key: str
    records: tuple[TrialRecord, ...]
    is_variant: bool
    namesakes: tuple[str, ...] = ()


def resolve_operand(run: Run, text: str) -> DiffOperand:
    """Find the variant or trial that `text` names: a variant's name or id, or a trial's id; ids may be prefixes.

    Of several variants with one name, the one in the run's plan is chosen. The trial may also be one that tuned a
    variant.

    Raises:
        SpecError: no or more than one variant or trial matches.
    """
    variants: dict[str, list[TrialRecord]] = {}
    for record in run.deciding.values():
        variants.setdefault(record.variant_id, []).append(record)
    trials = latest_by_trial(run.records, run.plan.superseded)
    if named := [key for key, records in variants.items() if any(record.variant == text for record in records)]:
        return _variant(_planned(run, text, named, variants), variants, called=text)
    found = [(True, text)] if text in variants else [(False, text)] if text in trials else []
    if not found and len(text) >= _SHORTEST_PREFIX:
        found = [(True, key) for key in variants if key.startswith(text)]
        found += [(False, key) for key in trials if key.startswith(text)]
    if len(found) > 1:
        several = ", ".join(sorted(key for _, key in found)[:_MOST_NAMES])
        raise SpecError(Problem(f"{text!r} is a prefix of {len(found)} ids: {several}", where=str(run.path)))
    for is_variant, key in found:
        if is_variant:
            return _variant(key, variants)
        trial = trials[key]
        return DiffOperand(f"{trial.variant}, seed {trial.seed}", key, (trial,), is_variant=False)
    names = sorted({record.variant for records in variants.values() for record in records})
    hint = did_you_mean(text, names[:_MOST_NAMES]) if names else "no trial has ended yet"
    if any(trial.trial_id.startswith(text) or trial.variant == text for trial in run.unfinished if text):
        hint = "it has started and not ended; ended so far: " + (", ".join(names[:_MOST_NAMES]) or "none")
    hint += "\na trial is named by its id (`archsweep ls`), a variant by its name or id"
    raise SpecError(Problem(f"no variant or trial is called {text!r}", where=str(run.path), hint=hint))


def _planned(run: Run, name: str, keys: Sequence[str], variants: dict[str, list[TrialRecord]]) -> str:
    if len(keys) == 1:
        return keys[0]
    in_plan = {variant.variant_id for variant in run.plan.variants} & set(keys)
    if len(in_plan) == 1:
        return in_plan.pop()
    several = ", ".join(f"{key} ({len(variants[key])} trial{'s' if len(variants[key]) > 1 else ''})" for key in keys)
    hint = "name one by its id; `archsweep ls RUN --columns variant,variant_id,seed` shows which is which"
    raise SpecError(Problem(f"{len(keys)} variants are called {name!r}: {several}", where=str(run.path), hint=hint))


def _variant(key: str, variants: dict[str, list[TrialRecord]], *, called: str = "") -> DiffOperand:
    """Operand of a variant, named `called` or, as names may change between sessions, by its latest name."""
    records = variants[key]
    name = called or records[-1].variant
    same = tuple(
        other for other, its in variants.items() if other != key and any(record.variant == name for record in its)
    )
    return DiffOperand(
        name, key, tuple(sorted(records, key=lambda record: record.seed)), is_variant=True, namesakes=same
    )
